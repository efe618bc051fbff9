//! Many who wait share a sync.

use std::time::Duration;

use super::{made, open, record};

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_saves_at_once_take_far_fewer_syncs() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    store.save("alice", [("warm", b"up")]).await.unwrap();
    disk.set_sync_time(Duration::from_millis(2));
    let before = disk.syncs();
    let saves = (0..64).map(|peer| {
        let store = store.clone();
        tokio::spawn(async move {
            for version in 0..10 {
                let peer_id = peer.to_string();
                store.save("alice", [(&peer_id, record(peer, version, 500))]).await.unwrap();
                let found = store.load("alice", &peer_id).await.unwrap().unwrap();
                assert_eq!(super::version_of(peer, &found), version, "what was acknowledged");
            }
        })
    });
    for save in saves.collect::<Vec<_>>() {
        save.await.unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs <= 64, "{syncs} syncs for 640 saves");
}

#[tokio::test]
async fn one_save_takes_one_sync() {
    let disk = made();
    let store = open(&disk).await.unwrap();
    store.save("alice", [("bob", record(0, 0, 500))]).await.unwrap();
    let before = disk.syncs();
    for version in 1..=100 {
        store.save("alice", [("bob", record(0, version, 500))]).await.unwrap();
    }
    assert_eq!(disk.syncs() - before, 100);
}
