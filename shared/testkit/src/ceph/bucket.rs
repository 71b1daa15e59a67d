//! A bucket of one's own, and what a test wants to know about its content, asked as the owner.

use std::future::Future;

use anyhow::{Context as _, Result};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    VersioningConfiguration,
};

use super::{Key, REGION, Rights, User, client, policy};
use crate::process::random_suffix;

/// Settings for a [`Bucket`].
#[derive(Debug)]
pub struct BucketBuilder {
    endpoint: String,
    prefix: String,
    versioned: bool,
    lock: Option<Option<i32>>,
    rights: Vec<(User, Rights)>,
}

impl BucketBuilder {
    pub(super) fn new(endpoint: String, prefix: &str) -> Self {
        let rights = User::ALL.into_iter().filter(|user| *user != User::Admin).map(|user| (user, Rights::usual(user))).collect();
        Self { endpoint, prefix: prefix.to_owned(), versioned: false, lock: None, rights }
    }

    /// Keeps versions.
    #[must_use]
    pub fn versioned(mut self) -> Self {
        self.versioned = true;
        self
    }

    /// Has object lock (and with it versions); with a number, every object is locked for so many days in governance mode.
    #[must_use]
    pub fn object_lock(mut self, days: Option<i32>) -> Self {
        self.lock = Some(days);
        self
    }

    /// Gives `user` a further right, such as `s3:GetObject`.
    #[must_use]
    pub fn allow(mut self, user: User, action: &str) -> Self {
        self.rights.iter_mut().filter(|(one, _)| *one == user).for_each(|(_, rights)| rights.add(action));
        self
    }

    /// Takes a right from `user`.
    #[must_use]
    pub fn deny(mut self, user: User, action: &str) -> Self {
        self.rights.iter_mut().filter(|(one, _)| *one == user).for_each(|(_, rights)| rights.remove(action));
        self
    }

    /// Makes it.
    pub fn create(self) -> Result<Bucket> {
        let name = format!("{}-{}", self.prefix, random_suffix()?);
        let bucket = Bucket { name: name.clone(), endpoint: self.endpoint.clone() };
        bucket.as_owner(|s3| async move {
            s3.create_bucket().bucket(&name).object_lock_enabled_for_bucket(self.lock.is_some()).send().await?;
            if self.versioned {
                let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
                s3.put_bucket_versioning().bucket(&name).versioning_configuration(on).send().await?;
            }
            if let Some(Some(days)) = self.lock {
                let retention = DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(days).build();
                let rule = ObjectLockRule::builder().default_retention(retention).build();
                let lock = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).rule(rule).build();
                s3.put_object_lock_configuration().bucket(&name).object_lock_configuration(lock).send().await?;
            }
            s3.put_bucket_policy().bucket(&name).policy(policy::document(&name, &self.rights)).send().await?;
            Ok::<_, aws_sdk_s3::Error>(())
        })?;
        Ok(bucket)
    }
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag without quotes.
    pub etag: String,
}

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upload {
    /// The key that it would become.
    pub key: String,
    /// Its id.
    pub id: String,
}

/// A bucket; its methods act as the owner and block.
#[derive(Debug, Clone)]
pub struct Bucket {
    name: String,
    endpoint: String,
}

impl Bucket {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The gateway's own endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The environment of a job that works as `user`: the AWS names for endpoint, region and key.
    #[must_use]
    pub fn env(&self, user: User) -> Vec<(&'static str, String)> {
        let Key { access, secret } = user.key();
        vec![
            ("AWS_ENDPOINT_URL_S3", self.endpoint.clone()),
            ("AWS_REGION", REGION.into()),
            ("AWS_ACCESS_KEY_ID", access),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ]
    }

    /// Stores an object.
    pub fn put(&self, key: &str, content: impl Into<Vec<u8>>) -> Result<()> {
        let (bucket, key, body) = (self.name.clone(), key.to_owned(), ByteStream::from(content.into()));
        self.as_owner(|s3| async move { s3.put_object().bucket(bucket).key(key).body(body).send().await.map(drop) })
    }

    /// Reads an object.
    pub fn get(&self, key: &str) -> Result<Vec<u8>> {
        let (bucket, wanted) = (self.name.clone(), key.to_owned());
        let found = self.as_owner(|s3| async move {
            let found = s3.get_object().bucket(bucket).key(wanted).send().await?;
            Ok::<_, aws_sdk_s3::Error>(found.body.collect().await)
        })?;
        Ok(found.with_context(|| format!("failed to read {key}"))?.into_bytes().to_vec())
    }

    /// Deletes an object.
    pub fn delete(&self, key: &str) -> Result<()> {
        let (bucket, key) = (self.name.clone(), key.to_owned());
        self.as_owner(|s3| async move { s3.delete_object().bucket(bucket).key(key).send().await.map(drop) })
    }

    /// All objects, in the order of their keys.
    pub fn list(&self) -> Result<Vec<Object>> {
        let bucket = self.name.clone();
        self.as_owner(|s3| async move {
            let mut found = Vec::new();
            let mut pages = s3.list_objects_v2().bucket(bucket).into_paginator().send();
            while let Some(page) = pages.next().await {
                found.extend(page?.contents.unwrap_or_default().into_iter().map(|one| Object {
                    key: one.key.unwrap_or_default(),
                    size: one.size.and_then(|size| size.try_into().ok()).unwrap_or(0),
                    etag: one.e_tag.unwrap_or_default().trim_matches('"').to_owned(),
                }));
            }
            Ok::<_, aws_sdk_s3::Error>(found)
        })
    }

    /// The keys of all objects, in order.
    pub fn keys(&self) -> Result<Vec<String>> {
        Ok(self.list()?.into_iter().map(|object| object.key).collect())
    }

    /// The multipart uploads that are still open.
    pub fn uploads(&self) -> Result<Vec<Upload>> {
        let bucket = self.name.clone();
        self.as_owner(|s3| async move {
            let (mut found, mut key, mut id) = (Vec::new(), None, None);
            loop {
                let page = s3.list_multipart_uploads().bucket(&bucket).set_key_marker(key).set_upload_id_marker(id).send().await?;
                found.extend(
                    page.uploads
                        .unwrap_or_default()
                        .into_iter()
                        .map(|one| Upload { key: one.key.unwrap_or_default(), id: one.upload_id.unwrap_or_default() }),
                );
                if page.is_truncated != Some(true) {
                    return Ok::<_, aws_sdk_s3::Error>(found);
                }
                (key, id) = (page.next_key_marker, page.next_upload_id_marker);
            }
        })
    }

    /// Deletes all objects, versions and uploads: for tests of gigabytes, since the gateway keeps all in memory.
    pub fn purge(&self) -> Result<()> {
        for upload in self.uploads()? {
            let bucket = self.name.clone();
            self.as_owner(|s3| async move {
                s3.abort_multipart_upload().bucket(bucket).key(upload.key).upload_id(upload.id).send().await.map(drop)
            })?;
        }
        let bucket = self.name.clone();
        self.as_owner(|s3| async move {
            loop {
                let page = s3.list_object_versions().bucket(&bucket).send().await?;
                let versions = page.versions.unwrap_or_default().into_iter().map(|one| (one.key, one.version_id));
                let markers = page.delete_markers.unwrap_or_default().into_iter().map(|one| (one.key, one.version_id));
                let all: Vec<_> = versions.chain(markers).collect();
                if all.is_empty() {
                    return Ok::<_, aws_sdk_s3::Error>(());
                }
                for (key, version) in all {
                    let one = s3.delete_object().bucket(&bucket).set_key(key).set_version_id(version);
                    one.bypass_governance_retention(true).send().await?;
                }
            }
        })
    }

    /// Replaces the bucket's policy by what these users may do; the others may nothing.
    pub fn set_rights(&self, rights: &[(User, &[&str])]) -> Result<()> {
        let mut all = Vec::new();
        for user in User::ALL.into_iter().filter(|user| *user != User::Admin) {
            let mut one = Rights::usual(User::Nobody);
            rights.iter().filter(|(of, _)| *of == user).flat_map(|(_, actions)| *actions).for_each(|action| one.add(action));
            all.push((user, one));
        }
        let (bucket, policy) = (self.name.clone(), policy::document(&self.name, &all));
        self.as_owner(|s3| async move { s3.put_bucket_policy().bucket(bucket).policy(policy).send().await.map(drop) })
    }

    /// Deletes the bucket with all that is in it, as a test of "the bucket is gone" wants.
    pub fn remove(&self) -> Result<()> {
        self.purge()?;
        let bucket = self.name.clone();
        self.as_owner(|s3| async move { s3.delete_bucket().bucket(bucket).send().await.map(drop) })
    }

    /// Runs requests with the owner's client, on a thread and a runtime of their own: the caller may be in a runtime.
    pub fn as_owner<T, E, F>(&self, work: impl FnOnce(aws_sdk_s3::Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T, E>>,
        T: Send,
        E: std::error::Error + Send,
    {
        let done = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok::<_, std::io::Error>(runtime.block_on(work(client(&self.endpoint, User::Admin))))
            });
            thread.join().expect("requests to the gateway do not panic")
        })?;
        done.map_err(|error| anyhow::anyhow!("failed to ask the gateway about {}: {}", self.name, DisplayErrorContext(&error)))
    }
}
