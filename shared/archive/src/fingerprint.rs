//! Fingerprints of keys, from which nobody learns the key.
//!
//! Whoever reads a manifest may try keys against its fingerprint, and a person's own key can be weak: each try must be costly.
//! scrypt at the costs that OWASP names for passwords (N = 2^16, r = 8, p = 2; 64 MiB) makes it so, and age brings scrypt along
//! already. A plain hash, or an HMAC whose own key would have to lie beside the manifest, would not.

use std::io;

use scrypt::Params;
use sha2::{Digest, Sha256};

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
/// Bytes of a fingerprint's digest.
pub const DIGEST_BYTES: usize = 16;

const LOG_N: u8 = 16;
const R: u32 = 8;
const P: u32 = 2;

/// The digest of a key under a salt. Takes 64 MiB for half a second: not for an async thread, and once per key and run.
///
/// The name is part of it: the same text under two names gives digests that have nothing to do with each other.
///
/// # Errors
/// When scrypt refuses its own costs, which it does not.
pub fn fingerprint(name: &str, salt: &[u8; SALT_BYTES], key: &[u8]) -> io::Result<[u8; DIGEST_BYTES]> {
    let salt = Sha256::new()
        .chain_update(b"plana-jobs key fingerprint 1\0")
        .chain_update((name.len() as u64).to_be_bytes())
        .chain_update(name)
        .chain_update(salt)
        .finalize();
    let params = Params::new(LOG_N, R, P, DIGEST_BYTES).map_err(|error| io::Error::other(error.to_string()))?;
    let mut digest = [0; DIGEST_BYTES];
    scrypt::scrypt(key, &salt, &params, &mut digest).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by Python: hashlib.scrypt(b"hunter2", salt=sha256(…).digest(), n=65536, r=8, p=2, dklen=16, maxmem=1<<30).
    #[test]
    fn it_is_scrypt_of_name_salt_and_key() {
        let digest = fingerprint("EXO_ENCRYPTION_KEY", &[7; SALT_BYTES], b"hunter2").unwrap();
        assert_eq!(hex::encode(digest), "04a8d0e918ca3e69f5e14ce6ecc3dfb6");
        for (name, salt, key) in
            [("EXO_ENCRYPTION_KE", 7, "hunter2"), ("EXO_ENCRYPTION_KEY", 8, "hunter2"), ("EXO_ENCRYPTION_KEY", 7, "hunter3")]
        {
            assert_ne!(fingerprint(name, &[salt; SALT_BYTES], key.as_bytes()).unwrap(), digest);
        }
    }
}
