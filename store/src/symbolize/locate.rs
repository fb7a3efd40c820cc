//! Which files describe a module: the file itself, its separate debug file, and a dwz supplementary file.
//!
//! Every candidate is verified before it is used: by build-id whenever both sides have one, else by the CRC that
//! `.gnu_debuglink` carries. The order is in the module docs of [`super`].

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::Object;

use super::crc::crc32;
use super::elf::{ElfImage, FileIdentity, OpenError};
use super::types::{ModuleError, ModuleRef, ModuleStatus};

/// The files of one module.
#[derive(Default)]
pub(super) struct Located {
    /// The mapped file, if what is on disk is the same build.
    pub(super) main: Option<ElfImage>,
    /// Its separate debug file.
    pub(super) debug: Option<ElfImage>,
    /// The dwz file that the debug information refers to.
    pub(super) supplementary: Option<ElfImage>,
    /// Why `main` is missing.
    pub(super) failure: Option<ModuleStatus>,
    pub(super) problems: Vec<ModuleError>,
}

impl Located {
    /// The image whose DWARF is used.
    pub(super) fn dwarf_image(&self) -> Option<&ElfImage> {
        self.main.iter().chain(&self.debug).find(|image| image.has_debug_info())
    }

    /// The image whose `.symtab`, or else `.dynsym`, is used.
    pub(super) fn symbol_image(&self) -> Option<&ElfImage> {
        let mut images = self.main.iter().chain(&self.debug);
        images.find(|image| image.has_symbol_table()).or(self.main.as_ref())
    }

    /// Identities of all files that results depend on.
    pub(super) fn identities(&self) -> Vec<FileIdentity> {
        let images = [&self.main, &self.debug, &self.supplementary];
        images.into_iter().flatten().map(|image| image.identity.clone()).collect()
    }
}

/// Opens everything there is about `module`.
pub(super) fn locate(module: &ModuleRef, debug_dirs: &[PathBuf]) -> Located {
    let mut located = Located::default();
    match open_main(module) {
        Ok(image) => located.main = Some(image),
        Err(status) => located.failure = Some(status),
    }
    if !located.main.as_ref().is_some_and(ElfImage::has_debug_info) {
        // The build-id of the run is the better key: it works even if the file is gone or was replaced.
        let main_id = located.main.as_ref().and_then(|main| main.build_id.clone());
        let build_id = module.build_id.clone().or(main_id);
        let mut found = build_id.and_then(|id| by_build_id(&id, debug_dirs, &mut located.problems));
        if let (None, Some(main)) = (&found, &located.main) {
            found = by_debug_link(main, debug_dirs, &mut located.problems);
        }
        located.debug = found;
    }
    let supplementary = located.dwarf_image().map(|image| supplementary(image, debug_dirs));
    match supplementary {
        Some(Ok(found)) => located.supplementary = found,
        Some(Err(problem)) => located.problems.push(problem),
        None => {}
    }
    located
}

fn open_main(module: &ModuleRef) -> Result<ElfImage, ModuleStatus> {
    // The kernel's mark for a file that was unlinked or replaced; whatever has that name now is something else.
    if module.path.as_os_str().as_bytes().ends_with(b" (deleted)") {
        return Err(ModuleStatus::NotFound);
    }
    let image = ElfImage::open(&module.path).map_err(|error| match error {
        OpenError::NotFound => ModuleStatus::NotFound,
        OpenError::Unusable(error) => ModuleStatus::Unreadable(error),
    })?;
    match &module.build_id {
        Some(expected) if image.build_id.as_ref() != Some(expected) => {
            Err(ModuleStatus::BuildIdMismatch { found: image.build_id })
        }
        _ => Ok(image),
    }
}

/// `<dir>/.build-id/xx/yyyy.debug`.
fn by_build_id(build_id: &[u8], debug_dirs: &[PathBuf], problems: &mut Vec<ModuleError>) -> Option<ElfImage> {
    let relative = build_id_path(build_id)?;
    debug_dirs.iter().find_map(|dir| {
        let image = open_candidate(&dir.join(&relative), problems)?;
        if image.build_id.as_deref() == Some(build_id) {
            return Some(image);
        }
        problems.push(mismatch(&image, "its build-id differs from its name"));
        None
    })
}

fn build_id_path(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first()?;
    let hex: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    (!rest.is_empty()).then(|| PathBuf::from(format!(".build-id/{first:02x}/{hex}.debug")))
}

/// `.gnu_debuglink`, in the places where gdb looks.
fn by_debug_link(main: &ElfImage, debug_dirs: &[PathBuf], problems: &mut Vec<ModuleError>) -> Option<ElfImage> {
    let file = main.parse().ok()?;
    let (name, crc) = file.gnu_debuglink().ok().flatten()?;
    // A name with a slash could point anywhere; linkers and objcopy never write one.
    if name.is_empty() || name.contains(&b'/') {
        return None;
    }
    let name = OsStr::from_bytes(name);
    let path = fs::canonicalize(main.path()).ok()?;
    let dir = path.parent()?;
    let mut candidates = vec![dir.join(name), dir.join(".debug").join(name)];
    let below_root = dir.strip_prefix("/").unwrap_or(dir);
    candidates.extend(debug_dirs.iter().map(|root| root.join(below_root).join(name)));
    candidates.iter().filter(|candidate| **candidate != path).find_map(|candidate| {
        let image = open_candidate(candidate, problems)?;
        let verdict = match (&main.build_id, &image.build_id) {
            (Some(ours), Some(theirs)) if ours == theirs => return Some(image),
            (Some(_), Some(_)) => "its build-id differs",
            _ if crc32(image.data()) == crc => return Some(image),
            _ => "its CRC differs",
        };
        problems.push(mismatch(&image, verdict));
        None
    })
}

/// The dwz file that `image` refers to; `Ok(None)` if it refers to none.
fn supplementary(image: &ElfImage, debug_dirs: &[PathBuf]) -> Result<Option<ElfImage>, ModuleError> {
    let file = image.parse()?;
    let Ok(Some((name, build_id))) = file.gnu_debugaltlink() else { return Ok(None) };
    let mut candidates = Vec::new();
    // The link is relative to the debug file's real place, which `.build-id` only symlinks to.
    if let Some(dir) = fs::canonicalize(image.path()).ok().as_deref().and_then(Path::parent) {
        candidates.push(dir.join(OsStr::from_bytes(name)));
    }
    if let Some(relative) = build_id_path(build_id) {
        candidates.extend(debug_dirs.iter().map(|root| root.join(&relative)));
    }
    let found = candidates.iter().find_map(|candidate| {
        let image = ElfImage::open(candidate).ok()?;
        (image.build_id.as_deref() == Some(build_id)).then_some(image)
    });
    let missing = || ModuleError::SupplementaryMissing { name: String::from_utf8_lossy(name).into_owned() };
    found.map(Some).ok_or_else(missing)
}

/// Opens a debug file that need not exist.
fn open_candidate(path: &Path, problems: &mut Vec<ModuleError>) -> Option<ElfImage> {
    match ElfImage::open(path) {
        Ok(image) => Some(image),
        Err(OpenError::NotFound) => None,
        Err(OpenError::Unusable(error)) => {
            problems.push(error);
            None
        }
    }
}

fn mismatch(image: &ElfImage, reason: &'static str) -> ModuleError {
    ModuleError::DebugFileMismatch { path: image.path().to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::build_id_path;
    use std::path::PathBuf;

    #[test]
    fn build_ids_name_files() {
        assert_eq!(build_id_path(&[0xab, 0x01, 0xff]), Some(PathBuf::from(".build-id/ab/01ff.debug")));
        assert_eq!(build_id_path(&[0xab]), None);
        assert_eq!(build_id_path(&[]), None);
    }
}
