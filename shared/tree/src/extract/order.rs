//! Names of entries: that they stay below the top, come once, and each behind its directory.

use super::ExtractError;

/// What Linux allows of a name.
const MOST_NAME_BYTES: usize = 255;
/// Deeper than any tree that is written: each level holds an open directory.
const DEEPEST: usize = 256;

/// The order of the walk, in which a name is always greater than all before it.
#[derive(Default)]
pub(super) struct Order {
    last: Option<Vec<Vec<u8>>>,
    /// How many of the last path's names are directories that were given.
    open: usize,
}

/// Where an entry belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The top itself, which comes first.
    Top,
    /// So many directories deep in the ones that were given last, and its own name.
    Below { depth: usize, name: Vec<u8> },
}

impl Order {
    /// Takes the next path, as it is written.
    pub(super) fn take(&mut self, path: &[u8], is_directory: bool) -> Result<Position, ExtractError> {
        let refused = |what| ExtractError::entry(path, what);
        let names = names(path, is_directory)?;
        let Some(last) = &self.last else {
            if !names.is_empty() || !is_directory {
                return Err(refused("the archive does not begin with `./`"));
            }
            self.last = Some(names);
            return Ok(Position::Top);
        };
        if names == *last {
            return Err(refused("it comes twice"));
        }
        if names < *last {
            return Err(refused("it comes twice, or not in its order, so that it may come twice"));
        }
        let (name, parents) = names.split_last().ok_or_else(|| refused("it comes twice"))?;
        if parents.len() > self.open || parents != &last[..parents.len()] {
            return Err(refused("its directory does not come before it"));
        }
        if parents.len() >= DEEPEST {
            return Err(refused("it is deeper than any file store"));
        }
        let position = Position::Below { depth: parents.len(), name: name.clone() };
        self.open = parents.len() + usize::from(is_directory);
        self.last = Some(names);
        Ok(position)
    }
}

/// The names that a path consists of; none for the top.
fn names(path: &[u8], is_directory: bool) -> Result<Vec<Vec<u8>>, ExtractError> {
    let refused = |what| Err(ExtractError::entry(path, what));
    if path.first() == Some(&b'/') {
        return refused("its name is absolute");
    }
    if path.contains(&0) {
        return refused("its name holds a zero byte");
    }
    let below = match path.strip_prefix(b"./") {
        Some(below) => below,
        None if path == b"." => b"",
        None => path,
    };
    let below = if is_directory { below.strip_suffix(b"/").unwrap_or(below) } else { below };
    if below.is_empty() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for name in below.split(|byte| *byte == b'/') {
        match name {
            b".." => return refused("its name leads out of the directory"),
            b"" | b"." => return refused("its name is not as it would be written"),
            _ if name.len() > MOST_NAME_BYTES => return refused("a name in it is longer than 255 bytes"),
            _ => names.push(name.to_vec()),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_comes_twice_or_before_its_directory_is_refused() {
        let take = |paths: &[(&str, bool)]| {
            let mut order = Order::default();
            paths.iter().map(|(path, is_directory)| order.take(path.as_bytes(), *is_directory)).collect::<Result<Vec<_>, _>>()
        };
        let good = [("./", true), ("./a/", true), ("./a/b/", true), ("./a/b/c", false), ("./a/d", false), ("./a.b", false), ("./b/", true)];
        let depths: Vec<usize> = take(&good)
            .expect("in order")
            .iter()
            .filter_map(|position| if let Position::Below { depth, .. } = position { Some(*depth) } else { None })
            .collect();
        assert_eq!(depths, [0, 1, 2, 1, 0, 0]);
        for (bad, what) in [
            (vec![("./a", false)], "does not begin"),
            (vec![("./", false)], "does not begin"),
            (vec![("./", true), ("./", true)], "twice"),
            (vec![("./", true), ("./a", false), ("./a", false)], "twice"),
            (vec![("./", true), ("./a", false), ("./a/", true)], "twice"),
            (vec![("./", true), ("./b", false), ("./a", false)], "not in its order"),
            (vec![("./", true), ("./a/b", false)], "its directory does not come"),
            (vec![("./", true), ("./a", false), ("./a/b", false)], "its directory does not come"),
            (vec![("./", true), ("./a/", true), ("./b", false), ("./b/c", false)], "its directory does not come"),
            (vec![("./", true), ("./a/", true), ("./b/", true), ("./a/c", false)], "not in its order"),
        ] {
            let error = take(&bad).expect_err(what).to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    proptest! {
        /// Whatever is taken is below the top, and no path is taken twice.
        #[test]
        fn no_path_leads_out_or_comes_twice(paths in proptest::collection::vec(("(\\./)?[ab./\0]{0,6}", any::<bool>()), 0..20)) {
            let mut order = Order::default();
            let mut taken = std::collections::BTreeSet::new();
            let _top = order.take(b"./", true);
            for (path, is_directory) in &paths {
                if order.take(path.as_bytes(), *is_directory).is_ok() {
                    let plain: Vec<_> = std::path::Path::new(path).components().filter(|part| *part != std::path::Component::CurDir).collect();
                    prop_assert!(plain.iter().all(|part| matches!(part, std::path::Component::Normal(_))), "{path}");
                    prop_assert!(taken.insert(plain.iter().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>()), "{path}");
                }
            }
        }
    }
}
