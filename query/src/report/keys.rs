//! What each grouping is made of in SQL: key columns, columns that merely describe, and how rows are shown.

use super::{GroupBy, Mode};

/// A column of the `groups` relation: its name and the expression over the join that makes the groups.
pub(crate) type Column = (&'static str, &'static str);

/// A grouping in SQL.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Columns that make a group, in the order in which ties are broken, each descending.
    pub(crate) keys: &'static [Column],
    /// Columns that are chosen from the group; aggregates.
    pub(crate) rest: &'static [Column],
    /// Where the groups' rows come from; `{facts}`, `{n}` and `{schema}` are filled in.
    pub(crate) from: &'static str,
    /// Expressions over keys and rest for the shown columns.
    pub(crate) shown: Shown,
}

/// Expressions for the columns that every report shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) filename: &'static str,
    pub(crate) lineno: &'static str,
    pub(crate) function: &'static str,
    pub(crate) module: &'static str,
    pub(crate) label: &'static str,
    pub(crate) traceback: &'static str,
}

const NO_TEXT: &str = "CAST(NULL AS VARCHAR)";
const NO_LINE: &str = "CAST(NULL AS INT)";
/// Null with the type of a traceback.
const NO_TRACEBACK: &str =
    "CASE WHEN FALSE THEN make_array(named_struct('filename', '', 'lineno', CAST(0 AS INT), 'function', '')) END";

/// Frames with their sums.
const FRAMES: &str = "by_frame{n} AS g LEFT JOIN {schema}frames_named AS f ON f.frame_id = g.frame_id";
const FILENAME: Column = ("filename", "COALESCE(f.filename, '<unknown>')");
const LINENO: Column = ("lineno", "COALESCE(f.lineno, 0)");
const FUNCTION: Column = ("function", "COALESCE(f.function, '??')");
/// A function, or a place in a module without names: stripped programs would be one site otherwise.
const SITE_NAME: Column = ("site", "COALESCE(f.site, '??')");
const MODULE: Column = ("module", "COALESCE(f.module, '<unknown>')");

const NOTHING: Shown = Shown {
    filename: NO_TEXT,
    lineno: NO_LINE,
    function: NO_TEXT,
    module: NO_TEXT,
    label: NO_TEXT,
    traceback: NO_TRACEBACK,
};

const LINE: Shown = Shown {
    filename: "filename",
    lineno: "lineno",
    function: "function",
    module: "module",
    label: "filename || ':' || CAST(lineno AS VARCHAR)",
    traceback: "make_array(named_struct('filename', filename, 'lineno', lineno, 'function', function))",
};

static SITE: Keys = Keys {
    keys: &[SITE_NAME, FILENAME, LINENO, MODULE],
    rest: &[],
    from: FRAMES,
    shown: Shown {
        function: "site",
        traceback: "make_array(named_struct('filename', filename, 'lineno', lineno, 'function', site))",
        // Imported snapshots have lines without functions.
        label: "CASE WHEN lineno > 0 AND site = '??' THEN filename || ':' || CAST(lineno AS VARCHAR) \
                WHEN lineno > 0 THEN site || ' (' || filename || ':' || CAST(lineno AS VARCHAR) || ')' \
                WHEN starts_with(site, module || '+0x') THEN site \
                ELSE site || ' [' || module || ']' END",
        ..LINE
    },
};
static BY_LINENO: Keys = Keys {
    keys: &[FILENAME, LINENO],
    rest: &[("function", "min(COALESCE(f.function, '??'))"), ("module", "min(COALESCE(f.module, '<unknown>'))")],
    from: FRAMES,
    shown: LINE,
};
static BY_FILENAME: Keys = Keys {
    keys: &[FILENAME],
    rest: &[("module", "min(COALESCE(f.module, '<unknown>'))")],
    from: FRAMES,
    shown: Shown {
        lineno: "CAST(0 AS INT)",
        function: NO_TEXT,
        label: "filename",
        traceback: "make_array(named_struct('filename', filename, 'lineno', CAST(0 AS INT), 'function', ''))",
        ..LINE
    },
};
static BY_FUNCTION: Keys = Keys {
    keys: &[FUNCTION, MODULE],
    rest: &[("filename", "min(COALESCE(f.filename, '<unknown>'))")],
    from: FRAMES,
    shown: Shown {
        lineno: NO_LINE,
        label: "function || ' [' || module || ']'",
        traceback: "make_array(named_struct('filename', filename, 'lineno', CAST(0 AS INT), 'function', function))",
        ..LINE
    },
};
static BY_MODULE: Keys =
    Keys { keys: &[MODULE], rest: &[], from: FRAMES, shown: Shown { module: "module", label: "module", ..NOTHING } };
static BY_TRACEBACK: Keys = Keys {
    keys: &[("frames", "g.frames")],
    rest: &[("sample", "min({number} * 4294967296 + g.stack_id)")],
    from: "tracebacks{n} AS g",
    shown: NOTHING,
};
static BY_THREAD: Keys = Keys {
    keys: &[("thread_id", "g.thread_id")],
    rest: &[("name", "min(h.name)"), ("tid", "min(h.tid)"), ("pid", "min(p.pid)")],
    from: "{facts} AS g LEFT JOIN {schema}threads AS h ON h.thread_id = g.thread_id \
           LEFT JOIN {schema}processes AS p ON p.process_id = h.process_id",
    shown: Shown {
        label: "COALESCE(name, '?') || ' (thread ' || COALESCE(CAST(tid AS VARCHAR), '?') || ' of process ' \
                || COALESCE(CAST(pid AS VARCHAR), '?') || ')'",
        ..NOTHING
    },
};
static BY_PROCESS: Keys = Keys {
    keys: &[("process_id", "g.process_id")],
    rest: &[("exe", "min(p.exe)"), ("pid", "min(p.pid)")],
    from: "{facts} AS g LEFT JOIN {schema}processes AS p ON p.process_id = g.process_id",
    shown: Shown {
        label: "COALESCE(exe, '?') || ' (process ' || COALESCE(CAST(pid AS VARCHAR), '?') || ')'",
        ..NOTHING
    },
};
/// Threads of different recordings have their names in common, not their numbers.
static BY_THREAD_NAME: Keys = Keys {
    keys: &[("name", "COALESCE(h.name, '?')")],
    rest: &[],
    from: "{facts} AS g LEFT JOIN {schema}threads AS h ON h.thread_id = g.thread_id",
    shown: Shown { label: "name", ..NOTHING },
};
/// Processes of different recordings have their programs in common.
static BY_EXE: Keys = Keys {
    keys: &[("exe", "COALESCE(p.exe, '?')")],
    rest: &[],
    from: "{facts} AS g LEFT JOIN {schema}processes AS p ON p.process_id = g.process_id",
    shown: Shown { label: "exe", ..NOTHING },
};
static BY_KIND: Keys =
    Keys { keys: &[("kind", "g.kind")], rest: &[], from: "{facts} AS g", shown: Shown { label: "kind", ..NOTHING } };
static BY_DOMAIN: Keys = Keys {
    keys: &[("domain", "g.domain")],
    rest: &[],
    from: "{facts} AS g",
    shown: Shown { label: "CAST(domain AS VARCHAR)", ..NOTHING },
};
static BY_SIZE: Keys = Keys {
    keys: &[("up_to", "g.up_to")],
    rest: &[],
    from: "{facts} AS g",
    shown: Shown { label: "'up to ' || format_size(up_to)", ..NOTHING },
};

impl Keys {
    /// The keys of a grouping; `shared` if several recordings are compared.
    pub(crate) fn of(group_by: GroupBy, shared: bool) -> &'static Self {
        match group_by {
            GroupBy::Site => &SITE,
            GroupBy::Lineno => &BY_LINENO,
            GroupBy::Filename => &BY_FILENAME,
            GroupBy::Traceback => &BY_TRACEBACK,
            GroupBy::Function => &BY_FUNCTION,
            GroupBy::Module => &BY_MODULE,
            GroupBy::Thread if shared => &BY_THREAD_NAME,
            GroupBy::Thread => &BY_THREAD,
            GroupBy::Process if shared => &BY_EXE,
            GroupBy::Process => &BY_PROCESS,
            GroupBy::Kind => &BY_KIND,
            GroupBy::Domain => &BY_DOMAIN,
            GroupBy::Size => &BY_SIZE,
        }
    }

    /// `key DESC, ...`
    pub(crate) fn order(&self) -> String {
        self.keys.iter().map(|(name, _)| format!("{name} DESC")).collect::<Vec<_>>().join(", ")
    }

    /// Names of keys and rest, each followed by a comma.
    pub(crate) fn names(&self) -> String {
        self.keys.iter().chain(self.rest).map(|(name, _)| format!("{name}, ")).collect()
    }
}

/// The frame of a stack that counts where only one does: a person's groupings look past allocators, the seed's do not.
pub(crate) fn leaf(group_by: GroupBy) -> &'static str {
    match group_by {
        GroupBy::Lineno | GroupBy::Filename | GroupBy::Traceback => "leaf_frame_id",
        _ => "user_leaf_frame_id",
    }
}

/// The flag of `stack_frames` that says whether a frame is the first of its group; none where no flag does.
pub(crate) fn first_flag(group_by: GroupBy) -> Option<&'static str> {
    match group_by {
        GroupBy::Lineno => Some("sf.is_first_line"),
        GroupBy::Filename => Some("sf.is_first_file"),
        _ => None,
    }
}

/// Why a grouping cannot be counted in this mode.
pub(crate) fn check(group_by: GroupBy, mode: Mode) -> Result<(), crate::Error> {
    match (group_by, mode) {
        (_, Mode::MostRecent) => Ok(()),
        (GroupBy::Traceback, Mode::Cumulative) => {
            // The seed's words, its slip included.
            Err(crate::Error::Report("cumulative mode cannot by used with key type 'traceback'".to_owned()))
        }
        _ if group_by.is_frame() => Ok(()),
        _ => Err(crate::Error::Report(format!(
            "groups by {group_by} cannot be cumulative or inclusive: use site, lineno, filename, function or module"
        ))),
    }
}
