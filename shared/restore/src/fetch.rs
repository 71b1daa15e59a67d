//! A set's files in a directory, as they are stored.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use plana_archive::digest::StreamHasher;
use plana_plan::{manifest::Volume, set::MANIFEST};
use plana_storage::{ReadVolume, VolumeReader};

use crate::{error::RestoreError, read::Reading};

/// Copies a set's files into a directory, which is made. Each is written under `….part`, proven against its SHA-256, and only
/// then takes its name; one that was cut goes on where it ended. A file that is there already and is right is left alone.
///
/// # Errors
/// Whatever failed first; files without `.part` are whole all the same.
pub async fn fetch_set(reading: &Reading<'_>, to: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    fs::create_dir_all(to).map_err(|source| file_error(to, source))?;
    let mut files = Vec::new();
    for (volume, from) in reading.set.manifest.payload.volumes.iter().zip(&reading.set.volumes) {
        // The manifest was checked: the file's name is of the set's own form, without a slash.
        let name = volume.key.rsplit('/').next().unwrap_or(&volume.key);
        let path = to.join(name);
        fetch_volume(reading, volume, from, &path).await?;
        files.push(path);
    }
    let set = &reading.set.key;
    let manifest = to.join(format!("{}.{MANIFEST}", set.file_name("", 0)));
    write_whole(&manifest, &reading.set.manifest.to_bytes())?;
    files.push(manifest);
    Ok(files)
}

fn file_error(path: &Path, source: std::io::Error) -> RestoreError {
    RestoreError::File { path: path.to_path_buf(), source }
}

async fn fetch_volume(reading: &Reading<'_>, volume: &Volume, from: &ReadVolume, path: &Path) -> Result<(), RestoreError> {
    if path.exists() {
        let hasher = hash_file(path, volume.bytes).await?;
        if hasher.bytes() == volume.bytes && hasher.finish().sha256 == volume.sha256 {
            return Ok(());
        }
        let what = "a file of that name is there, and it is another; move it away".to_owned();
        return Err(RestoreError::Occupied { path: path.to_path_buf(), what });
    }
    let part = path.with_added_extension("part");
    let failed = |source| file_error(&part, source);
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(&part).map_err(failed)?;
    let mut hasher = hash_file(&part, u64::MAX).await?;
    if hasher.bytes() > volume.bytes {
        file.set_len(0).map_err(failed)?;
        hasher = StreamHasher::default();
    }
    if hasher.bytes() > 0 {
        tracing::info!(file = %part.display(), bytes = hasher.bytes(), "going on where an earlier attempt ended");
    }
    let options = reading.memory.options(reading.meter.stored_bytes.clone());
    let mut reader = VolumeReader::new(reading.store.clone(), vec![from.clone()], hasher.bytes(), options)?;
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(reading.stall_timeout, reader.next()) => next,
            () = reading.cancel.cancelled() => return Err(RestoreError::Cancelled),
        };
        let Some(chunk) = next.map_err(|_| RestoreError::Stalled(reading.stall_timeout))?? else { break };
        (file, hasher) = written(file, hasher, chunk, &part).await?;
    }
    let digest = hasher.finish();
    if digest.bytes != volume.bytes || digest.sha256 != volume.sha256 {
        // The next attempt must not go on from what is wrong.
        fs::remove_file(&part).map_err(failed)?;
        let what = format!("{} does not have the SHA-256 that the manifest names", volume.key);
        return Err(RestoreError::Mismatch { set: reading.set.key.to_string(), what });
    }
    file.sync_all().map_err(failed)?;
    fs::rename(&part, path).map_err(|source| file_error(path, source))?;
    sync_directory(path)
}

/// Writes and hashes a chunk where it may take its time.
async fn written(mut file: File, mut hasher: StreamHasher, chunk: bytes::Bytes, part: &Path) -> Result<(File, StreamHasher), RestoreError> {
    let path = part.to_path_buf();
    let writing = tokio::task::spawn_blocking(move || {
        file.write_all(&chunk).map_err(|source| file_error(&path, source))?;
        hasher.update(&chunk);
        Ok((file, hasher))
    });
    writing.await.map_err(|error| RestoreError::Internal(error.to_string()))?
}

/// Hashes a file, up to so many bytes and one more, where it may take its time.
async fn hash_file(path: &Path, most: u64) -> Result<StreamHasher, RestoreError> {
    let path = path.to_path_buf();
    let hashing = tokio::task::spawn_blocking(move || hash(&path, most));
    hashing.await.map_err(|error| RestoreError::Internal(error.to_string()))?
}

fn hash(path: &Path, most: u64) -> Result<StreamHasher, RestoreError> {
    let failed = |source| file_error(path, source);
    let mut file = File::open(path).map_err(failed)?.take(most.saturating_add(1));
    let (mut hasher, mut buffer) = (StreamHasher::default(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hasher),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RestoreError> {
    let part = path.with_added_extension("part");
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|source| file_error(path, source))?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<(), RestoreError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|source| file_error(directory, source))
}
