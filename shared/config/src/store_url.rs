//! A store's address.

use std::{fmt, path::PathBuf, str::FromStr};

/// A store's address: `s3://bucket/prefix` or `file:///directory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A bucket, and a place in it.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all keys begin with; empty, or segments without a slash at either end.
        prefix: String,
    },
    /// A directory.
    File {
        /// An absolute path.
        directory: PathBuf,
    },
}

/// The text is not a store's address. Does not show the text: some people write keys into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a store: {0}")]
pub struct StoreUrlError(pub &'static str);

impl StoreUrl {
    /// Whether one lies in the other, or both are the same place.
    pub fn overlaps(&self, other: &StoreUrl) -> bool {
        let within = |inner: &str, outer: &str| {
            outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match (self, other) {
            (StoreUrl::S3 { bucket: one, prefix: inner }, StoreUrl::S3 { bucket: two, prefix: outer }) => {
                one == two && (within(inner, outer) || within(outer, inner))
            }
            (StoreUrl::File { directory: one }, StoreUrl::File { directory: two }) => one.starts_with(two) || two.starts_with(one),
            _ => false,
        }
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        if let Some(place) = text.strip_prefix("s3://") {
            let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
            s3(bucket, prefix.strip_suffix('/').unwrap_or(prefix))
        } else if text.starts_with("file:") {
            file(text)
        } else if text.starts_with('/') {
            Err(StoreUrlError("write file:// before a directory, such as file:///srv/backups"))
        } else {
            Err(StoreUrlError("write s3://bucket/prefix or file:///directory"))
        }
    }
}

fn s3(bucket: &str, prefix: &str) -> Result<StoreUrl, StoreUrlError> {
    if bucket.contains('@') {
        return Err(StoreUrlError("keys do not belong in the URL: give access_key_id and secret_access_key"));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(fits) {
        return Err(StoreUrlError("its bucket's name must be 3 or more letters, digits, dots or hyphens"));
    }
    if !prefix.is_empty() && prefix.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(StoreUrlError("its prefix has an empty segment, `.` or `..`"));
    }
    Ok(StoreUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn file(text: &str) -> Result<StoreUrl, StoreUrlError> {
    let wrong = || StoreUrlError("write file:// and an absolute directory: three slashes, such as file:///srv/backups");
    if !text.starts_with("file:///") {
        return Err(wrong());
    }
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(StoreUrlError("write ? as %3F and # as %23 in a directory's name"));
    }
    Ok(StoreUrl::File { directory: url.to_file_path().map_err(|()| wrong())? })
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            StoreUrl::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            StoreUrl::File { directory } => match url::Url::from_file_path(directory) {
                Ok(url) => f.write_str(url.as_str()),
                Err(()) => write!(f, "file://{}", directory.display()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_may_lie_in_another() {
        for (one, two, overlap) in [
            ("s3://bucket", "s3://bucket/", true),
            ("s3://bucket", "s3://bucket/seeds", true),
            ("s3://bucket/a", "s3://bucket/a/b", true),
            ("s3://bucket/a", "s3://bucket/ab", false),
            ("s3://bucket", "s3://buckets", false),
            ("file:///srv/backups", "file:///srv/backups/seeds", true),
            ("file:///srv/backups", "file:///srv/backups-seeds", false),
            ("file:///srv/bucket", "s3://srv/bucket", false),
        ] {
            let read = |text: &str| text.parse::<StoreUrl>().expect("an address");
            assert_eq!(read(one).overlaps(&read(two)), overlap, "{one} {two}");
            assert_eq!(read(two).overlaps(&read(one)), overlap, "{two} {one}");
        }
    }

    #[test]
    fn addresses_are_buckets_or_directories() {
        let s3 = |bucket: &str, prefix: &str| StoreUrl::S3 { bucket: bucket.into(), prefix: prefix.into() };
        let file = |directory: &str| StoreUrl::File { directory: directory.into() };
        for (text, url) in [
            ("s3://plana-pulse-backups", s3("plana-pulse-backups", "")),
            ("s3://plana-pulse-backups/", s3("plana-pulse-backups", "")),
            ("s3://b.1/a/b/", s3("b.1", "a/b")),
            ("file:///srv/backups", file("/srv/backups")),
            ("file:///srv/back ups%23", file("/srv/back ups#")),
        ] {
            assert_eq!(text.parse(), Ok(url.clone()), "{text}");
            assert_eq!(url.to_string().parse(), Ok(url), "{text}");
        }
        for text in [
            "",
            "s3:",
            "s3://",
            "s3:///x",
            "s3://a",
            "s3://bucket//x",
            "s3://bucket/../x",
            "s3://b ucket",
            "/srv",
            "srv",
            "file:",
            "file://",
            "file://srv/backups",
            "file:srv",
            "file:///srv#x",
            "file:///srv?x",
            "https://bucket",
            "S3://bucket",
        ] {
            assert!(text.parse::<StoreUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_in_an_address_are_refused_unseen() {
        let error = "s3://AKIA1:hunter2@bucket/x".parse::<StoreUrl>().expect_err("keys in the URL").to_string();
        assert!(error.contains("access_key_id") && !error.contains("hunter2"), "{error}");
    }
}
