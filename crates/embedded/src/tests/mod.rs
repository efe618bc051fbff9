//! The store over disks that fail, lose what was not synced, or come back altered; and over real
//! files.

mod behaviour;
mod damage;
mod disk_full;
mod files;
mod group_commit;
mod power_cut;
mod sim;

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;
use crate::file;
use crate::key::Key;
use crate::store::{Options, Store};
use sim::SimDisk;

fn key() -> Key {
    Key::from_bytes([7; 32])
}

/// A disk with a new, closed store on it.
fn made() -> Arc<SimDisk> {
    let disk = Arc::new(SimDisk::default());
    file::fill(&(disk.clone() as Arc<dyn Disk>), &key()).unwrap();
    disk
}

async fn open(disk: &Arc<SimDisk>) -> Result<Store, Error> {
    open_with(disk, Options::default()).await
}

async fn open_with(disk: &Arc<SimDisk>, options: Options) -> Result<Store, Error> {
    let disk = disk.clone();
    Store::start(options, move || {
        let key = file::unlock(&*disk, &key())?;
        Ok((disk as Arc<dyn Disk>, key))
    })
    .await
}

/// A record that says which version of which peer's it is, and that it is whole.
fn record(peer: usize, version: u64, length: usize) -> Vec<u8> {
    let mut record = [peer as u64, version].map(u64::to_le_bytes).concat();
    record.extend((0..length).map(|i| (i as u64 ^ version) as u8));
    record
}

/// The version of a whole record of `peer`.
fn version_of(peer: usize, found: &[u8]) -> u64 {
    let version = u64::from_le_bytes(found[8..16].try_into().unwrap());
    assert_eq!(found, record(peer, version, found.len() - 16), "not a whole record of {peer}");
    version
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}
