//! Puts an object where there is none.
//! A body and its key -> it is there with this checksum, or trouble.
//! Invariant: an object is never replaced; one of the same checksum is as good as ours.
//! Leaves out: what the body is made of.

use std::io;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, MultipartUpload, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions,
};
use ring::digest::{Context, SHA256, digest};

use super::limits::{PART_BYTES, PARTS_AT_ONCE, PARTS_MAX, READ_BYTES, WHOLE_BYTES_MAX};
use super::store::{CHECKSUM, Store, There};
use crate::disk::DiskFile;
use crate::pipeline::ship::Trouble;
use crate::pipeline::tally::kept::hex;

/// What is uploaded: a file of the log folder, or one without a name.
#[derive(Debug)]
pub(super) struct Bytes(pub(super) Box<dyn DiskFile>);

impl Bytes {
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.0.facts()?.bytes)
    }

    /// So many bytes from some place on; fewer at the end.
    fn read(&self, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let place = at + filled as u64;
            match self.0.read_at(rest, place) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    }

    /// The SHA-256 of all, in hex; none when it is time to stop.
    pub(super) fn checksum(&self, go_on: &dyn Fn() -> bool) -> io::Result<Option<String>> {
        let mut context = Context::new(&SHA256);
        let mut at = 0;
        loop {
            if !go_on() {
                return Ok(None);
            }
            let piece = self.read(at, READ_BYTES as u64)?;
            if piece.is_empty() {
                return Ok(Some(hex(context.finish().as_ref())));
            }
            context.update(&piece);
            at += piece.len() as u64;
        }
    }
}

/// What to put where.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) bytes: &'a Bytes,
    pub(super) key: &'a Path,
    pub(super) checksum: &'a str,
    /// The checksum was found out before; the bytes may be others by now.
    pub(super) is_hearsay: bool,
    pub(super) storage_class: Option<&'a str>,
}

/// Why it is not there.
pub(super) enum Failed {
    /// The file cannot be read.
    Read(io::Error),
    /// The bytes have another checksum than was said.
    NotTheSame,
    /// There is another object.
    Mismatch(String),
    Trouble(Trouble),
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Failed {
        Failed::Trouble(trouble)
    }
}

impl Upload<'_> {
    /// Uploads it, unless it is there. Returns the bytes that went over the wire.
    pub(super) async fn put(&self, store: &Store) -> Result<u64, Failed> {
        let bytes = self.bytes.len().map_err(Failed::Read)?;
        if bytes <= WHOLE_BYTES_MAX && store.conditional {
            return self.put_whole(store, bytes, PutMode::Create).await;
        }
        // What takes long is not begun in vain; without conditions there is no other way.
        if self.is_there(store).await? {
            self.prove(store)?;
            return Ok(0);
        }
        match bytes <= WHOLE_BYTES_MAX {
            true => self.put_whole(store, bytes, PutMode::Overwrite).await,
            false => self.put_parts(store, bytes).await,
        }
    }

    async fn put_whole(&self, store: &Store, bytes: u64, mode: PutMode) -> Result<u64, Failed> {
        let body = self.bytes.read(0, bytes).map_err(Failed::Read)?;
        if self.is_hearsay && hex(digest(&SHA256, &body).as_ref()) != self.checksum {
            return Err(Failed::NotTheSame);
        }
        let options = PutOptions { mode, attributes: self.attributes(), ..PutOptions::default() };
        store.forget();
        let put = store.s3.put_opts(self.key, body.into(), options).await;
        self.judge(store, put.map(|_| ()), bytes).await
    }

    async fn put_parts(&self, store: &Store, bytes: u64) -> Result<u64, Failed> {
        let options =
            PutMultipartOptions { attributes: self.attributes(), ..PutMultipartOptions::default() };
        store.forget();
        let begun = store.s3.put_multipart_opts(self.key, options).await;
        let mut upload =
            begun.map_err(|error| store.trouble(&error, &format!("the object {}", self.key)))?;
        match self.parts(&mut *upload, bytes).await {
            Ok(None) => {
                let _ = upload.abort().await;
                Err(Failed::NotTheSame)
            }
            Ok(Some(put)) => {
                let failed = put.is_err();
                let judged = self.judge(store, put, bytes).await;
                if failed {
                    // Parts that nobody will complete cost room. Whether this fails is of
                    // no interest: a rule of the bucket should remove them anyway.
                    let _ = upload.abort().await;
                }
                judged
            }
            Err(error) => {
                let _ = upload.abort().await;
                Err(Failed::Read(error))
            }
        }
    }

    /// None when the bytes are others than was said: then there is no object.
    async fn parts(
        &self,
        upload: &mut dyn MultipartUpload,
        bytes: u64,
    ) -> io::Result<Option<object_store::Result<()>>> {
        let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
        let mut under_way = FuturesUnordered::new();
        let mut sum = self.is_hearsay.then(|| Context::new(&SHA256));
        let mut at = 0;
        while at < bytes {
            if under_way.len() >= PARTS_AT_ONCE
                && let Some(Err(error)) = under_way.next().await
            {
                return Ok(Some(Err(error)));
            }
            let part = self.bytes.read(at, part_bytes.min(bytes - at))?;
            if part.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter"));
            }
            at += part.len() as u64;
            if let Some(sum) = &mut sum {
                sum.update(&part);
            }
            under_way.push(upload.put_part(part.into()));
            // It sets out now, while the next one is read.
            if let Some(Some(Err(error))) = under_way.next().now_or_never() {
                return Ok(Some(Err(error)));
            }
        }
        if sum.is_some_and(|sum| hex(sum.finish().as_ref()) != self.checksum) {
            return Ok(None);
        }
        while let Some(put) = under_way.next().await {
            if let Err(error) = put {
                return Ok(Some(Err(error)));
            }
        }
        Ok(Some(upload.complete().await.map(|_| ())))
    }

    /// What is there already is ours only if our bytes are what they are said to be.
    fn prove(&self, store: &Store) -> Result<(), Failed> {
        if !self.is_hearsay {
            return Ok(());
        }
        let found = self.bytes.checksum(&|| !store.has_ended()).map_err(Failed::Read)?;
        match found.ok_or(Trouble::Ended)? == self.checksum {
            true => Ok(()),
            false => Err(Failed::NotTheSame),
        }
    }

    /// What an answer means.
    async fn judge(
        &self,
        store: &Store,
        put: object_store::Result<()>,
        bytes: u64,
    ) -> Result<u64, Failed> {
        match put {
            Ok(()) => Ok(bytes),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                if self.is_there(store).await? {
                    return Ok(0);
                }
                // Another upload was under way, and has failed.
                Err(Trouble::later(format!(
                    "{} would not take the object {}, and has none there",
                    store.place.endpoint, self.key
                ))
                .into())
            }
            Err(error) => {
                let trouble = store.trouble(&error, &format!("the object {}", self.key));
                // An answer that was lost may have been a good one.
                if matches!(trouble, Trouble::Later { .. })
                    && let Ok(true) = self.is_there(store).await
                {
                    return Ok(bytes);
                }
                Err(trouble.into())
            }
        }
    }

    /// Is our object there?
    async fn is_there(&self, store: &Store) -> Result<bool, Failed> {
        match store.look(self.key).await? {
            There::Nothing => Ok(false),
            There::Object { checksum: Some(checksum), .. } if checksum == self.checksum => Ok(true),
            There::Object { bytes, checksum } => Err(Failed::Mismatch(format!(
                "another object has the key {}: {bytes} bytes, checksum {}, where ours is {}",
                self.key,
                checksum.as_deref().unwrap_or("none"),
                self.checksum
            ))),
        }
    }

    fn attributes(&self) -> Attributes {
        let kind = match self.key.extension() {
            Some("xz") => "application/x-xz",
            Some("gz") => "application/gzip",
            Some("bz2") => "application/x-bzip2",
            Some("zst") => "application/zstd",
            _ => "application/octet-stream",
        };
        let mut attributes = Attributes::from_iter([(Attribute::ContentType, kind)]);
        attributes.insert(Attribute::Metadata(CHECKSUM.into()), self.checksum.to_owned().into());
        if let Some(class) = self.storage_class {
            attributes.insert(Attribute::StorageClass, class.to_owned().into());
        }
        attributes
    }
}
