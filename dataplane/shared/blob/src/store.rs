//! Whole objects below one address.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::{Access, Address, BlobError, LISTED_MAX, OBJECT_BYTES_MAX, deadline, s3};

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name below the address of the store.
    pub name: String,
    pub bytes: u64,
}

/// The beginning of an object, or some of its middle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What was asked for, as far as the object reaches.
    pub content: Bytes,
    /// Length of the whole object, in bytes.
    pub total: u64,
}

/// How [`Store::put_new`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Created,
    /// An object of this name is there already, and was left as it is.
    Exists,
}

/// Objects below one address. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The same objects, where they are files.
    files: Option<Arc<LocalFileSystem>>,
    prefix: Path,
    address: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens an address. A folder must be there: one that is missing is mostly a volume that is not
    /// mounted. A bucket is not asked for anything yet.
    pub fn open(address: &Address, access: &Access) -> Result<Self, BlobError> {
        let text = address.to_string();
        match address {
            Address::Folder(folder) => {
                if !folder.is_dir() {
                    return Err(BlobError::NotFound { name: text });
                }
                Self::folder(folder, text)
            }
            Address::Bucket { bucket, prefix } => {
                let objects = Arc::new(s3::open(&text, bucket, access)?);
                let prefix = Path::from(prefix.as_str());
                Ok(Self { objects, files: None, prefix, address: text })
            }
        }
    }

    /// As [`open`](Self::open), and makes the folder if its parents are there or can be made.
    pub fn create(address: &Address, access: &Access) -> Result<Self, BlobError> {
        if let Address::Folder(folder) = address {
            std::fs::create_dir_all(folder).map_err(|source| BlobError::Unusable {
                address: address.to_string(),
                source: Box::new(source),
            })?;
        }
        Self::open(address, access)
    }

    /// A store that lives as long as its last clone, for tests of what is built on stores.
    pub fn memory() -> Self {
        Self::of(Arc::new(InMemory::new()), "memory://")
    }

    /// Any other store, `address` being what messages call it: for tests of what is built on stores,
    /// with one that fails as they need it.
    pub fn of(objects: Arc<dyn ObjectStore>, address: &str) -> Self {
        Self { objects, files: None, prefix: Path::default(), address: address.to_owned() }
    }

    fn folder(folder: &FilePath, address: String) -> Result<Self, BlobError> {
        let opened = LocalFileSystem::new_with_prefix(folder);
        let unusable =
            |source| BlobError::Unusable { address: address.clone(), source: Box::new(source) };
        let files = Arc::new(opened.map_err(unusable)?.with_fsync(true));
        let objects = Arc::clone(&files) as Arc<dyn ObjectStore>;
        Ok(Self { objects, files: Some(files), prefix: Path::default(), address })
    }

    /// The address, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn path(&self, name: &str) -> Path {
        let parts = name.split('/').filter(|part| !part.is_empty());
        self.prefix.parts().chain(parts.map(Into::into)).collect()
    }

    /// Puts an object, in place of one of the same name if there is one.
    pub async fn put(&self, name: &str, content: Bytes) -> Result<(), BlobError> {
        self.write(name, content, PutMode::Overwrite).await
    }

    /// Puts an object unless there is one of this name. After an error it may be there: a caller
    /// asks again, and compares if it then [`Put::Exists`]. What exists is durable as well when this
    /// returns. A bucket says `Exists` also when the name was in use by another request just now: who
    /// then finds nothing asks again.
    pub async fn put_new(&self, name: &str, content: Bytes) -> Result<Put, BlobError> {
        match self.write(name, content, PutMode::Create).await {
            Ok(()) => Ok(Put::Created),
            Err(BlobError::Exists { .. }) => {
                self.sync(name).await?;
                Ok(Put::Exists)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a file durable that somebody else put: that one may have died before it could.
    async fn sync(&self, name: &str) -> Result<(), BlobError> {
        let Some(files) = &self.files else { return Ok(()) };
        let failed = |source| object_store::Error::Generic { store: "file", source };
        let file = files.path_to_filesystem(&self.path(name));
        let file = file.map_err(|cause| BlobError::of("sync", name, cause))?;
        let work = tokio::task::spawn_blocking(move || {
            let synced = sync_file(&file);
            // It may have been removed meanwhile.
            if synced.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                return Ok(());
            }
            synced
        });
        let work = async {
            let ended = work.await.map_err(|error| failed(Box::new(error)))?;
            ended.map_err(|error| failed(Box::new(error)))
        };
        within("sync", name, 0, work).await
    }

    async fn write(&self, name: &str, content: Bytes, mode: PutMode) -> Result<(), BlobError> {
        check_size(name, content.len() as u64)?;
        let path = self.path(name);
        let options = PutOptions { mode, ..PutOptions::default() };
        let bytes = content.len() as u64;
        let put = self.objects.put_opts(&path, content.into(), options);
        within("write", name, bytes, put).await.map(|_| ())
    }

    /// The content of an object.
    pub async fn get(&self, name: &str) -> Result<Bytes, BlobError> {
        let path = self.path(name);
        let found = within("read", name, 0, self.objects.get(&path)).await?;
        let bytes = found.meta.size;
        check_size(name, bytes)?;
        within("read", name, bytes, found.bytes()).await
    }

    /// The bytes `range` of an object, or as many of them as it has.
    pub async fn get_part(&self, name: &str, range: Range<u64>) -> Result<Part, BlobError> {
        let path = self.path(name);
        let bytes = range.end.saturating_sub(range.start);
        check_size(name, bytes)?;
        let start = range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = match within("read", name, 0, self.objects.get_opts(&path, options)).await {
            Ok(found) => found,
            Err(error @ BlobError::Failed { .. }) => {
                // Stores differ in how they refuse a range that begins behind the end.
                let meta = within("read", name, 0, self.objects.head(&path)).await?;
                let is_behind = meta.size <= start;
                let part = Part { content: Bytes::new(), total: meta.size };
                return if is_behind { Ok(part) } else { Err(error) };
            }
            Err(error) => return Err(error),
        };
        let total = found.meta.size;
        let content = within("read", name, bytes, found.bytes()).await?;
        Ok(Part { content, total })
    }

    /// Objects whose names begin with the folder `folder`, sorted by name.
    pub async fn list(&self, folder: &str) -> Result<Vec<Entry>, BlobError> {
        let mut entries = self.pick(folder, "", Some).await?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// What `pick` takes of the objects of a folder whose names sort behind `after`, in no order.
    pub async fn pick<T>(
        &self,
        folder: &str,
        after: &str,
        mut pick: impl FnMut(Entry) -> Option<T>,
    ) -> Result<Vec<T>, BlobError> {
        let path = self.path(folder);
        let skipped = self.prefix.parts().count();
        let mut found = match after {
            "" => self.objects.list(Some(&path)),
            after => self.objects.list_with_offset(Some(&path), &self.path(after)),
        };
        let mut picked = vec![];
        loop {
            let next = async { found.next().await.transpose() };
            let Some(object) = within("list", folder, 0, next).await? else { break };
            let parts = object.location.parts().skip(skipped);
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            picked.extend(pick(Entry { name: parts.join("/"), bytes: object.size }));
            if picked.len() > LISTED_MAX {
                let name = folder.to_owned();
                return Err(BlobError::TooMany { name, max: LISTED_MAX });
            }
        }
        Ok(picked)
    }

    /// Removes an object; one that is not there is no error.
    pub async fn delete(&self, name: &str) -> Result<(), BlobError> {
        let path = self.path(name);
        match within("delete", name, 0, self.objects.delete(&path)).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }
}

fn sync_file(file: &FilePath) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn check_size(name: &str, bytes: u64) -> Result<(), BlobError> {
    if bytes <= OBJECT_BYTES_MAX {
        return Ok(());
    }
    Err(BlobError::TooLarge { name: name.to_owned(), bytes, max: OBJECT_BYTES_MAX })
}

async fn within<T>(
    action: &'static str,
    name: &str,
    bytes: u64,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, BlobError> {
    let limit = deadline(bytes);
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|cause| BlobError::of(action, name, cause)),
        Err(_) => {
            Err(BlobError::Deadline { action, name: name.to_owned(), seconds: limit.as_secs() })
        }
    }
}
