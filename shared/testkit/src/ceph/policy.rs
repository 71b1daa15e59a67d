//! What each user may do in a bucket, as a bucket policy.

use std::collections::BTreeSet;

use serde_json::json;

use super::User;

/// The rights of one user in one bucket, as S3 actions (`s3:PutObject`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights(BTreeSet<String>);

impl Rights {
    /// What the contract's table of keys gives that user.
    #[must_use]
    pub fn usual(user: User) -> Self {
        let actions: &[&str] = match user {
            User::Admin | User::Nobody => &[],
            User::Backup => &["s3:PutObject", "s3:ListBucket"],
            User::Pruner => &[
                "s3:ListBucket",
                "s3:ListBucketVersions",
                "s3:ListBucketMultipartUploads",
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:AbortMultipartUpload",
            ],
            User::Restore => &["s3:ListBucket", "s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion"],
        };
        Self(actions.iter().map(ToString::to_string).collect())
    }

    pub(super) fn add(&mut self, action: &str) {
        self.0.insert(action.to_owned());
    }

    pub(super) fn remove(&mut self, action: &str) {
        self.0.remove(action);
    }
}

/// Every action that a key of the suite may have or must not have.
const ACTIONS: [&str; 17] = [
    "s3:PutObject",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:GetObjectRetention",
    "s3:GetObjectLegalHold",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:ListBucketMultipartUploads",
    "s3:GetBucketVersioning",
    "s3:PutBucketVersioning",
    "s3:GetBucketObjectLockConfiguration",
    "s3:PutBucketPolicy",
    "s3:DeleteBucket",
];

/// The policy document. Besides what is allowed it denies everything else in so many words: an object belongs to
/// whoever put it, and the gateway lets owners read and delete what is theirs unless a policy says no. (A denial by
/// `NotAction` it takes without complaint and does not heed: seen with 16.2.)
pub(super) fn document(bucket: &str, rights: &[(User, Rights)]) -> String {
    let both = [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")];
    // In so many words too: without them the bucket's owner may not read what others have put there.
    let owner = format!("arn:aws:iam:::user/{}", User::Admin.name());
    let mut statements = vec![json!({ "Effect": "Allow", "Principal": { "AWS": [owner] }, "Action": ["s3:*"], "Resource": both })];
    for (user, rights) in rights {
        let principal = json!({ "AWS": [format!("arn:aws:iam:::user/{}", user.name())] });
        let mut state = |effect: &str, actions: Vec<&str>| {
            if !actions.is_empty() {
                statements.push(json!({ "Effect": effect, "Principal": principal, "Action": actions, "Resource": both }));
            }
        };
        state("Allow", rights.0.iter().map(String::as_str).collect());
        state("Deny", ACTIONS.into_iter().filter(|action| !rights.0.contains(*action)).collect());
    }
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}
