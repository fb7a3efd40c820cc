//! Source paths as people expect them: without `.`, `..` and doubled slashes.
//!
//! Purely textual: the sources need not be on this machine, so symbolic links cannot be asked about.

/// Collapses `//`, `/./` and `a/../`. A relative path stays relative and keeps the `..` it starts with.
pub(super) fn normalise(path: &str) -> String {
    if !needs_work(path) {
        return path.to_owned();
    }
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if absolute => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if absolute { format!("/{joined}") } else { joined }
}

fn needs_work(path: &str) -> bool {
    path.contains("//") || path.starts_with("./") || path.contains("/.") || path.starts_with("..")
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn collapses_only_what_is_redundant() {
        for (path, expected) in [
            ("/a/b.c", "/a/b.c"),
            ("/a/./b.c", "/a/b.c"),
            ("/build/glibc/malloc/../sysdeps/x.h", "/build/glibc/sysdeps/x.h"),
            ("/build/nptl/../sysdeps/../sysdeps/x.S", "/build/sysdeps/x.S"),
            ("../x.c", "../x.c"),
            ("../../a/../x.c", "../../x.c"),
            ("./x.c", "x.c"),
            ("/../x.c", "/x.c"),
            ("/a//b.c", "/a/b.c"),
            ("/home/.config/x.c", "/home/.config/x.c"),
            ("<stdin>", "<stdin>"),
            ("/a/..b/x.c", "/a/..b/x.c"),
            ("", ""),
        ] {
            assert_eq!(normalise(path), expected, "{path}");
        }
    }
}
