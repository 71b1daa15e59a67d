//! What a manifest refers to. Its text is hostile until it has been read.

use serde::Deserialize;

use super::digest::{Digest, is_any_digest};
use crate::name::printable;

/// A manifest that is larger is not read; registries take none either.
pub const LARGEST: u64 = 4 << 20;
/// A manifest that refers to more is not believed.
const MOST_REFERENCES: usize = 20_000;

/// What is known of a manifest's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// What it refers to: the configuration and layers of an image, the manifests of an index, what it is a signature of.
    References {
        /// All of them, each once, in their order as digests.
        all: Box<[Digest]>,
        /// The one of them that it is about: an image that it signs or describes.
        subject: Option<Digest>,
    },
    /// It is not in the store: it refers to nothing that a reader could get through it.
    Absent,
    /// It cannot be understood, and may refer to anything.
    Unclear(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    // What neither an image nor an index of today has, and what could refer to more.
    fs_layers: Option<serde::de::IgnoredAny>,
    blobs: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

enum Kind {
    Image,
    Index,
}

/// Reads a manifest's text, which must be the content of its digest already.
pub fn read(text: &[u8]) -> Content {
    match references(text) {
        Ok(content) => content,
        Err(why) => Content::Unclear(why),
    }
}

fn references(text: &[u8]) -> Result<Content, String> {
    if text.len() as u64 > LARGEST {
        return Err(format!("it has more than {} MiB", LARGEST >> 20));
    }
    let head: Head = serde_json::from_slice(text).map_err(|error| format!("it is no manifest: {}", printable(&error.to_string())))?;
    if head.schema_version != Some(2) {
        return Err("its schemaVersion is not 2".to_owned());
    }
    let descriptors = match kind(&head)? {
        Kind::Image => {
            let config = head.config.ok_or("it has no config")?;
            let layers = head.layers.ok_or("it has no layers")?;
            [vec![config], layers].concat()
        }
        Kind::Index => head.manifests.ok_or("it has no manifests")?,
    };
    let subject = head.subject.map(|subject| own(&subject.digest)).transpose()?;
    if descriptors.len() > MOST_REFERENCES {
        return Err(format!("it refers to more than {MOST_REFERENCES} things"));
    }
    let mut all = Vec::with_capacity(descriptors.len() + 1);
    for descriptor in &descriptors {
        all.push(own(&descriptor.digest)?);
    }
    all.extend(subject);
    all.sort_unstable();
    all.dedup();
    Ok(Content::References { all: all.into(), subject })
}

/// Of which kind it is, where nothing about it says otherwise.
fn kind(head: &Head) -> Result<Kind, String> {
    let (has_image, has_index) = (head.config.is_some() || head.layers.is_some(), head.manifests.is_some());
    if head.fs_layers.is_some() || head.blobs.is_some() || has_image == has_index {
        return Err(format!("its media type {} is not known here", said(head)));
    }
    match head.media_type.as_deref() {
        Some("application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json") if has_image => {
            Ok(Kind::Image)
        }
        Some("application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json") if has_index => {
            Ok(Kind::Index)
        }
        // The OCI's may leave it out.
        None if has_image => Ok(Kind::Image),
        None => Ok(Kind::Index),
        Some(_) => Err(format!("its media type {} is not known here, or does not fit what is in it", said(head))),
    }
}

fn said(head: &Head) -> String {
    head.media_type.as_deref().map_or_else(|| "(none)".to_owned(), |text| printable(text.get(..100).unwrap_or(text)))
}

/// A digest of ours. What has one of another kind lies in the store under its SHA-256 all the same, which this does not tell.
fn own(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|_| {
        let is_other = !text.starts_with("sha256:") && is_any_digest(text);
        let what = if is_other { "by a digest of another kind than SHA-256" } else { "that is no digest" };
        format!("it refers to something {what}")
    })
}

impl Clone for Descriptor {
    fn clone(&self) -> Self {
        Descriptor { digest: self.digest.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::new([byte; 32])
    }

    fn descriptor(byte: u8) -> String {
        format!("{{\"mediaType\":\"x\",\"size\":1,\"digest\":\"{}\"}}", digest(byte))
    }

    fn image(media: &str) -> String {
        format!("{{\"schemaVersion\":2,{media}\"config\":{},\"layers\":[{},{}]}}", descriptor(3), descriptor(1), descriptor(1))
    }

    fn all_of(text: &str) -> Vec<Digest> {
        match read(text.as_bytes()) {
            Content::References { all, .. } => all.to_vec(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn images_and_indexes_of_both_kinds_are_read() {
        for media in [
            "",
            "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",",
            "\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",",
        ] {
            assert_eq!(all_of(&image(media)), [digest(1), digest(3)]);
        }
        for media in [
            "",
            "\"mediaType\":\"application/vnd.oci.image.index.v1+json\",",
            "\"mediaType\":\"application/vnd.docker.distribution.manifest.list.v2+json\",",
        ] {
            let text = format!("{{\"schemaVersion\":2,{media}\"manifests\":[{},{}]}}", descriptor(2), descriptor(1));
            assert_eq!(all_of(&text), [digest(1), digest(2)]);
        }
        let signature = image("").replacen('{', &format!("{{\"subject\":{},", descriptor(9)), 1);
        assert!(
            matches!(read(signature.as_bytes()), Content::References { all, subject: Some(subject) } if subject == digest(9) && all.contains(&subject))
        );
    }

    #[test]
    fn what_is_not_understood_is_unclear() {
        let index = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", descriptor(2));
        let many = vec![descriptor(1); MOST_REFERENCES + 1].join(",");
        for text in [
            String::new(),
            "[]".to_owned(),
            "{}".to_owned(),
            "{\"schemaVersion\":2}".to_owned(),
            image("").replace(":2,", ":1,"),
            image("\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\","),
            image("\"mediaType\":\"application/vnd.oci.image.index.v1+json\","),
            image("\"mediaType\":7,"),
            image("\"mediaType\":\"x\",\"mediaType\":\"y\","),
            image("\"manifests\":[],"),
            image("\"blobs\":[],"),
            image("\"fsLayers\":[],"),
            image("").replace("sha256:", "sha256-"),
            image("").replace("sha256:03", "sha256:0"),
            // A registry keeps its content under another name, which only a link's content tells.
            image("").replace(&digest(3).to_string(), "sha512:00ff"),
            index.replace(&digest(2).to_string(), "sha512:00ff"),
            image("").replace("\"layers\"", "\"Layers\""),
            index.replace("[{", "[{\"digest\":1,"),
            format!("{{\"schemaVersion\":2,\"manifests\":[{many}]}}"),
            format!("{{\"schemaVersion\":2,\"manifests\":{}{}}}", "[".repeat(500), "]".repeat(500)),
            format!("{index}{index}"),
        ] {
            assert!(matches!(read(text.as_bytes()), Content::Unclear(_)), "{}", text.get(..200).unwrap_or(&text));
        }
        assert!(matches!(read(&vec![b' '; LARGEST as usize + 1]), Content::Unclear(_)));
    }
}
