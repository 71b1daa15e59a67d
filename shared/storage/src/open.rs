//! A store from its address.

use plana_config::{
    ByteSize, StoreAccess, StoreUrl,
    schema::{S3Client, Upload},
};
use plana_plan::parts::Limits;
use std::sync::Arc;

use crate::{
    contract::DynStore,
    directory::DirectoryStore,
    error::{Failure, Operation, StoreError},
    s3::{S3Options, S3Store},
};

/// S3's smallest part but the last, and its largest.
const PART_BYTES: (u64, u64) = (5 << 20, 5 << 30);

/// How stores are opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// How S3 clients behave.
    pub client: S3Client,
    /// How large objects may be, and of how many parts.
    pub limits: Limits,
    /// Make a directory that is missing (but not the one that holds it: a disk may not be mounted).
    pub create: bool,
}

impl OpenOptions {
    /// As the configuration's sections `s3` and `upload` have it.
    pub fn new(client: &S3Client, upload: &Upload, create: bool) -> Self {
        let ByteSize(max_object_bytes) = upload.max_object;
        let limits = Limits { min_part_bytes: PART_BYTES.0, max_part_bytes: PART_BYTES.1, max_parts: upload.max_parts, max_object_bytes };
        OpenOptions { client: client.clone(), limits, create }
    }
}

/// Opens a store. An S3 store is not spoken to yet.
///
/// # Errors
/// When keys are missing, the endpoint is none, or the directory cannot be made.
pub async fn open(access: &StoreAccess, options: &OpenOptions) -> Result<DynStore, StoreError> {
    match &access.url {
        StoreUrl::File { directory } => {
            let store = DirectoryStore::new(directory, options.limits);
            if options.create {
                store.create().await?;
            }
            Ok(Arc::new(store))
        }
        StoreUrl::S3 { bucket, prefix } => {
            let (Some(access_key_id), Some(secret_access_key)) = (access.access_key_id.clone(), access.secret_access_key.clone()) else {
                let cause = "it needs access_key_id and secret_access_key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
                return Err(StoreError::Unusable(Failure::new(Operation::Open, access.url.to_string(), cause)));
            };
            let store = S3Store::new(S3Options {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                endpoint: access.endpoint.clone(),
                region: access.region.clone(),
                access_key_id,
                secret_access_key,
                session_token: access.session_token.clone(),
                client: options.client.clone(),
                limits: options.limits,
            })?;
            Ok(Arc::new(store))
        }
    }
}
