//! The layout of the Docker distribution, read from keys.

use super::digest::Digest;

/// What all keys of a registry begin with.
pub const ROOT: &str = "docker/registry/v2/";
/// Where its repositories are.
pub const REPOSITORIES: &str = "docker/registry/v2/repositories/";
/// Where its blobs are.
pub const BLOBS: &str = "docker/registry/v2/blobs/";

/// A key of a registry, with the repository where it is of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorKey<'a> {
    /// Content, of whatever kind.
    Blob(Digest),
    /// A manifest is in a repository.
    Revision(&'a str, Digest),
    /// Something among a repository's manifests or layers that is not understood: under a digest of another kind, say. What that
    /// is a name for lies among the blobs as SHA-256, and only the link's content says where.
    Strange(&'a str),
    /// What a tag means now; the digest is the object's content.
    Current(&'a str, &'a str),
    /// What a tag has meant.
    Index(&'a str, &'a str, Digest),
    /// A layer or a configuration is in a repository.
    Layer(&'a str, Digest),
    /// Something of a push that was begun.
    Upload(&'a str, &'a str),
}

/// Reads a key; `None` for what is no part of the layout.
pub fn read(key: &str) -> Option<MirrorKey<'_>> {
    if let Some(rest) = key.strip_prefix(BLOBS) {
        let parts: Vec<&str> = rest.splitn(5, '/').collect();
        let ["sha256", short, hex, "data"] = parts[..] else { return None };
        return Digest::from_hex(hex).filter(|_| hex.get(..2) == Some(short)).map(MirrorKey::Blob);
    }
    let rest = key.strip_prefix(REPOSITORIES)?;
    // No segment of a name begins with `_`.
    let marker = rest.match_indices("/_").map(|(at, _)| at).next()?;
    let (name, within) = (rest.get(..marker)?, rest.get(marker + 1..)?);
    if !is_name(name) {
        return None;
    }
    let parts: Vec<&str> = within.splitn(9, '/').collect();
    match parts[..] {
        ["_manifests", "revisions", "sha256", hex, "link"] if Digest::from_hex(hex).is_some() => {
            Digest::from_hex(hex).map(|digest| MirrorKey::Revision(name, digest))
        }
        // Signatures lie below the manifest that they are of.
        ["_manifests", "revisions", "sha256", hex, "signatures", ..] if Digest::from_hex(hex).is_some() => None,
        ["_manifests", "revisions", ..] => Some(MirrorKey::Strange(name)),
        ["_manifests", "tags", tag, "current", "link"] if is_tag(tag) => Some(MirrorKey::Current(name, tag)),
        ["_manifests", "tags", tag, "index", "sha256", hex, "link"] if is_tag(tag) => {
            Digest::from_hex(hex).map(|digest| MirrorKey::Index(name, tag, digest))
        }
        ["_layers", "sha256", hex, "link"] => Digest::from_hex(hex).map(|digest| MirrorKey::Layer(name, digest)),
        ["_layers", algorithm, ..] if algorithm != "sha256" => Some(MirrorKey::Strange(name)),
        ["_uploads", id, _, ..] if !id.is_empty() => Some(MirrorKey::Upload(name, id)),
        _ => None,
    }
}

/// The content that a key names which is below the repositories and not understood.
pub fn named_below_repositories(key: &str) -> Option<Digest> {
    key.strip_prefix(REPOSITORIES)?.rsplit('/').find_map(Digest::from_hex)
}

impl MirrorKey<'_> {
    /// The key; what follows an upload's id, and what is strange, is not known any more.
    pub fn write(&self) -> Option<String> {
        Some(match self {
            MirrorKey::Blob(digest) => {
                let hex = digest.hex();
                format!("{BLOBS}sha256/{}/{hex}/data", hex.get(..2)?)
            }
            MirrorKey::Revision(name, digest) => format!("{REPOSITORIES}{name}/_manifests/revisions/sha256/{}/link", digest.hex()),
            MirrorKey::Current(name, tag) => format!("{REPOSITORIES}{name}/_manifests/tags/{tag}/current/link"),
            MirrorKey::Index(name, tag, digest) => {
                format!("{REPOSITORIES}{name}/_manifests/tags/{tag}/index/sha256/{}/link", digest.hex())
            }
            MirrorKey::Layer(name, digest) => format!("{REPOSITORIES}{name}/_layers/sha256/{}/link", digest.hex()),
            MirrorKey::Strange(_) | MirrorKey::Upload(..) => return None,
        })
    }
}

/// Whether a text names a repository: lower-case segments that begin and end with a letter or a digit.
pub fn is_name(text: &str) -> bool {
    let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        let inner = bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        inner && is_alphanumeric(bytes.first()) && is_alphanumeric(bytes.last())
    };
    text.len() <= 255 && text.split('/').all(is_segment)
}

/// Whether a text is a tag.
pub fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let first = bytes.first().is_some_and(is_word);
    first && bytes.len() <= 128 && bytes.iter().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_written() {
        let hex = "ab12".repeat(16);
        let digest = Digest::from_hex(&hex).unwrap();
        for (key, known) in [
            (format!("{BLOBS}sha256/ab/{hex}/data"), MirrorKey::Blob(digest)),
            (format!("{REPOSITORIES}library/nginx/_manifests/revisions/sha256/{hex}/link"), MirrorKey::Revision("library/nginx", digest)),
            (format!("{REPOSITORIES}a/b/c/_manifests/tags/v1.2_x/current/link"), MirrorKey::Current("a/b/c", "v1.2_x")),
            (format!("{REPOSITORIES}a/_manifests/tags/1/index/sha256/{hex}/link"), MirrorKey::Index("a", "1", digest)),
            (format!("{REPOSITORIES}a/_layers/sha256/{hex}/link"), MirrorKey::Layer("a", digest)),
        ] {
            assert_eq!(read(&key), Some(known), "{key}");
            assert_eq!(known.write(), Some(key));
        }
        let upload = format!("{REPOSITORIES}a/_uploads/0c1d/hashstates/sha256/0");
        assert_eq!(read(&upload), Some(MirrorKey::Upload("a", "0c1d")));
        for strange in ["sha512/abcd/link", "sha256/ab/link", "sha256/ABCD/link", "x"] {
            let key = format!("{REPOSITORIES}a/_manifests/revisions/{strange}");
            assert_eq!(read(&key), Some(MirrorKey::Strange("a")), "{key}");
        }
        assert_eq!(read(&format!("{REPOSITORIES}a/_layers/sha512/{hex}{hex}/link")), Some(MirrorKey::Strange("a")));
    }

    #[test]
    fn a_link_names_a_digest_also_where_its_repository_is_not_understood() {
        let (hex, other) = ("ab12".repeat(16), "cd34".repeat(16));
        let named = |key: &str| named_below_repositories(&format!("{REPOSITORIES}{key}"));
        for key in [format!("Upper/_layers/sha256/{hex}/link"), format!("a/_manifests/x/sha256/{other}/signatures/sha256/{hex}/link")] {
            assert_eq!(named(&key), Digest::from_hex(&hex), "{key}");
        }
        assert_eq!((named("Upper/README"), named_below_repositories(&format!("{BLOBS}x/{hex}"))), (None, None));
    }

    #[test]
    fn what_is_no_part_of_the_layout_is_unknown() {
        let hex = "ab12".repeat(16);
        for key in [
            "README".to_owned(),
            format!("{BLOBS}sha256/ab/{hex}"),
            format!("{BLOBS}sha256/ac/{hex}/data"),
            format!("{BLOBS}sha256/ab/{hex}/data/more"),
            format!("{BLOBS}sha512/ab/{hex}/data"),
            format!("{REPOSITORIES}Upper/_layers/sha256/{hex}/link"),
            format!("{REPOSITORIES}_layers/sha256/{hex}/link"),
            format!("{REPOSITORIES}a/../b/_layers/sha256/{hex}/link"),
            format!("{REPOSITORIES}a//b/_layers/sha256/{hex}/link"),
            format!("{REPOSITORIES}a/_layers/sha256/{hex}/link/x"),
            format!("{REPOSITORIES}a/_manifests/tags/-x/current/link"),
            format!("{REPOSITORIES}a/_manifests/revisions/sha256/{hex}/signatures/sha256/{hex}/link"),
            format!("{REPOSITORIES}a/_uploads/x"),
            format!("backup/{BLOBS}sha256/ab/{hex}/data"),
        ] {
            assert_eq!(read(&key), None, "{key}");
        }
    }
}
