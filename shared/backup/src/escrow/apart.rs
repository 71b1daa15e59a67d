//! That keys do not lie beside what they open, links and mounts included.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use plana_config::{Config, ConfigError, Problem, StoreName, StoreUrl};

/// Refuses an escrow store that is another store's place. The configuration has refused what is written so; here links and
/// mounts are followed.
///
/// # Errors
/// When one directory is in the other, by whatever way.
pub fn require_apart(config: &Config) -> Result<(), ConfigError> {
    let directory = |name: StoreName| match config.store.get(name)?.url.parse() {
        Ok(StoreUrl::File { directory }) => Some(directory),
        Ok(StoreUrl::S3 { .. }) | Err(_) => None,
    };
    let Some(escrow) = directory(StoreName::Escrow) else { return Ok(()) };
    for (name, _) in config.store.all().into_iter().filter(|(name, _)| *name != StoreName::Escrow) {
        let Some(other) = directory(name) else { continue };
        if lies_in(&escrow, &other) || lies_in(&other, &escrow) {
            let what = format!(
                "{} leads to where store.{} is ({}): a key beside what it opens, and whoever takes the one has the other",
                escrow.display(),
                name.as_str(),
                other.display()
            );
            return Err(Problem::new("configuration", "store.escrow.url", what, "give it a directory of its own, on another disk").into());
        }
    }
    Ok(())
}

/// Whether one of the directories on the way to `inner` is `outer`, by its device and number: so links, other spellings and
/// bind mounts are seen through.
fn lies_in(inner: &Path, outer: &Path) -> bool {
    let (inner, outer) = (real(inner), real(outer));
    if inner.starts_with(&outer) {
        return true;
    }
    let identity = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let Some(outer) = identity(&outer) else { return false };
    inner.ancestors().any(|ancestor| identity(ancestor) == Some(outer))
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    for existing in path.ancestors() {
        if let Ok(real) = fs::canonicalize(existing) {
            return path.strip_prefix(existing).map_or(real.clone(), |rest| real.join(rest));
        }
    }
    path.to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_seen_through() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("backups/pg")).unwrap();
        fs::create_dir(at("escrow")).unwrap();
        std::os::unix::fs::symlink(at("backups"), at("link")).unwrap();
        let config = |escrow: &str| {
            let toml = format!(
                "[store.backups]\nurl = \"file://{}\"\n[store.escrow]\nurl = \"file://{}\"\n",
                at("backups").display(),
                at(escrow).display()
            );
            Config::from_toml(&toml).unwrap()
        };
        for (escrow, good) in [("escrow", true), ("new", true), ("new/er", true), ("link", false), ("link/new", false), ("link/pg", false)]
        {
            assert_eq!(require_apart(&config(escrow)).is_ok(), good, "{escrow}");
        }
        // The other way round: the backups below the escrow.
        assert!(lies_in(&at("link/pg"), &at("backups")) && !lies_in(&at("backups"), &at("backups/pg")));
    }
}
