//! A contestant of `npm run bench` that needs no JavaScript: what one message costs in the client,
//! between the content and what travels, by whole records as the client keeps them.
//!
//! ```text
//! contestant one-way-3 | one-way-4 | stream-4 | set-up-4 | sealing
//! contestant sizes | memory
//! contestant peers COUNT
//! ```
//!
//! The first five read numbers from standard input, one a line; for each they do their work so many
//! times and print a line when it is done. `one-way-3` and `one-way-4`: seal and encode 64 bytes,
//! decode and open them, hand them over as handled; both sides have been heard. `stream-4`: with
//! the receipts that go back as well, and the Diffie-Hellman steps that they bring. `set-up-4`: from
//! existing keys and a published bundle with a one-time prekey to the first message read. `sealing`: seal
//! a record with a message under way as a store is given it, and unseal it, its root key shielded.
//! `sizes` and `memory` print JSON and end. `peers` reads the private half of alice's identity from standard
//! input, in hex, and writes her sealed records of `peer 0`, `peer 1` and so on, a line of base64 for
//! each; after a thousand the sessions come again.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for programs")]

use std::io::{BufRead as _, Write as _, stdin, stdout};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use stvor_protocol::{
    Content, IdentityKeyPair, LocalKeys, Message4, OneTimePrekey, OpenedMessage, Parties, PeerKeys,
    PeerRecord, PrekeyBundle, Prekeys, Record, SealedMessage, StorageKey, VerifiedV4,
    parse_header_field,
};

/// The time of everything: it passes for nobody here, unless it is said.
const NOW: u64 = 1_800_000_000_000;

/// What is sent.
const TEXT: [u8; 64] = [b'x'; 64];

/// Messages that are not acknowledged in a stream, as with 64 in flight and receipts every 50.
const UNHANDLED: usize = 100;

/// What travels of a message besides its frame.
struct Travelling {
    header: String,
    ciphertext: String,
    /// The number of the content in it.
    seq: Option<u64>,
}

impl Travelling {
    fn length(&self) -> usize {
        self.header.len() + self.ciphertext.len()
    }
}

/// One side: its keys, and its record of the other.
struct Party {
    name: &'static str,
    peer: &'static str,
    keys: Prekeys,
    record: PeerRecord,
}

impl Party {
    fn new(name: &'static str, peer: &'static str, rng: &mut ChaCha20Rng) -> Self {
        let keys = Prekeys::new(&LocalKeys::generate(rng), NOW, rng);
        Self { name, peer, keys, record: PeerRecord::new(NOW) }
    }

    fn to_peer(&self) -> Parties<'static> {
        Parties { sender: self.name, recipient: self.peer }
    }

    /// What the relay shows of us, verified.
    fn shown(&self) -> PeerKeys {
        let published = self.keys.local_keys().bundle();
        let bundle = PrekeyBundle::parse_base64url(
            &published.identity_key_base64url(),
            &published.signed_prekey_base64url(),
            &published.signature_base64url(),
        );
        let bundle = bundle.unwrap().verify().unwrap();
        let v4 = VerifiedV4::verify(&self.keys.v4(self.name), &bundle, self.name, NOW);
        PeerKeys { bundle, v4: Some(v4.unwrap()) }
    }

    fn begin(
        &mut self,
        theirs: &PeerKeys,
        one_time: Option<&OneTimePrekey>,
        rng: &mut ChaCha20Rng,
    ) {
        let begun = self.record.begin(&self.keys, self.to_peer(), theirs, one_time, NOW, None, rng);
        self.record = begun.unwrap();
    }

    fn push(&mut self) {
        let content = Content::text(String::from_utf8(TEXT.to_vec()).unwrap());
        self.record.push(content, false).unwrap();
    }

    fn send(&mut self, rng: &mut ChaCha20Rng) -> Travelling {
        self.push();
        let sealed = self.record.seal(self.to_peer(), NOW, rng).unwrap();
        travelling(sealed)
    }

    /// The receipt that is due by then.
    fn say(&mut self, until_ms: u64, rng: &mut ChaCha20Rng) -> Option<Travelling> {
        let sealed = self.record.seal_control(self.to_peer(), until_ms, NOW, rng)?;
        Some(travelling(sealed))
    }

    fn receive(&mut self, message: &Travelling, rng: &mut ChaCha20Rng) {
        let field = parse_header_field(&message.header).unwrap().unwrap();
        let ciphertext = BASE64.decode(&message.ciphertext).unwrap();
        let parsed = Message4::parse(&field.header, &field.trailer, &ciphertext).unwrap();
        let parties = Parties { sender: self.peer, recipient: self.name };
        let opened = self.record.open(&self.keys, parties, &parsed, NOW, rng).unwrap();
        let OpenedMessage { delivered, used_one_time, .. } = opened;
        if let Some(id) = used_one_time {
            self.keys = self.keys.without_one_time(id);
        }
        if let Some(last) = delivered.last() {
            self.record = self.record.handled(last.seq, NOW);
        }
    }
}

fn travelling(sealed: SealedMessage) -> Travelling {
    let SealedMessage { seq, header, ciphertext, .. } = sealed;
    Travelling { header, ciphertext: BASE64.encode(ciphertext), seq }
}

/// Two who have heard each other, with nothing under way.
fn conversation(rng: &mut ChaCha20Rng) -> (Party, Party) {
    let (mut a, mut b) = (Party::new("alice", "bob", rng), Party::new("bob", "alice", rng));
    a.begin(&b.shown(), None, rng);
    let first = a.send(rng);
    b.receive(&first, rng);
    settle(&mut a, &mut b, rng);
    (a, b)
}

/// Until neither owes the other anything.
fn settle(a: &mut Party, b: &mut Party, rng: &mut ChaCha20Rng) {
    let later = NOW + 1_000; // receipts are due by then, and nothing else
    loop {
        let (from_b, from_a) = (b.say(later, rng), a.say(later, rng));
        from_b.iter().for_each(|message| a.receive(message, rng));
        from_a.iter().for_each(|message| b.receive(message, rng));
        if from_a.is_none() && from_b.is_none() {
            return;
        }
    }
}

/// Does `work` as often as standard input says.
fn serve(mut work: impl FnMut(usize)) {
    println!("ready");
    for line in stdin().lock().lines() {
        work(line.unwrap().parse().unwrap());
        println!("done");
        stdout().flush().unwrap();
    }
}

fn one_way_3(rng: &mut ChaCha20Rng) {
    let (a, b) = (LocalKeys::generate(rng), LocalKeys::generate(rng));
    let [mut to_b, mut to_a] = [(&a, &b), (&b, &a)].map(|(ours, theirs)| {
        let legacy = Record::new(ours, theirs.bundle().verify().unwrap(), rng).unwrap();
        PeerRecord::new(NOW).with_legacy(legacy)
    });
    for _ in 0..2 {
        pass_3(&a, &mut to_b, &b, &mut to_a, rng);
        pass_3(&b, &mut to_a, &a, &mut to_b, rng);
    }
    serve(|n| (0..n).for_each(|_| pass_3(&a, &mut to_b, &b, &mut to_a, rng)));
}

/// A message of wire 3 from `sender`, who keeps `to_recipient`.
fn pass_3(
    _sender: &LocalKeys,
    to_recipient: &mut PeerRecord,
    recipient: &LocalKeys,
    to_sender: &mut PeerRecord,
    rng: &mut ChaCha20Rng,
) {
    let sealed = to_recipient.legacy().unwrap().encrypt(&TEXT, rng).unwrap();
    let header = BASE64.encode(sealed.header);
    let ciphertext = BASE64.encode(sealed.ciphertext);
    *to_recipient = to_recipient.with_legacy(sealed.record);

    let (header, ciphertext) = (BASE64.decode(header).unwrap(), BASE64.decode(ciphertext).unwrap());
    let legacy = to_sender.legacy().unwrap();
    let opened = legacy.decrypt(recipient, &header, &ciphertext, rng).unwrap();
    let received = to_sender.with_legacy(opened.record);
    let received = received.receive_legacy("id".to_owned(), opened.plaintext, NOW).unwrap();
    *to_sender = received.0.handled(received.1.ticket(), NOW);
}

/// No receipt goes back, so no ratchet turns: the outbox is emptied as if it had.
fn one_way_4(rng: &mut ChaCha20Rng) {
    let (mut a, mut b) = conversation(rng);
    let mut unhandled = Vec::with_capacity(UNHANDLED);
    serve(|n| {
        for _ in 0..n {
            let message = a.send(rng);
            b.receive(&message, rng);
            unhandled.extend(message.seq);
            if unhandled.len() == UNHANDLED {
                unhandled.drain(..).for_each(|seq| a.record = a.record.withdraw(seq));
            }
        }
    });
}

fn stream_4(rng: &mut ChaCha20Rng) {
    let (mut a, mut b) = conversation(rng);
    serve(|n| {
        for _ in 0..n {
            let message = a.send(rng);
            b.receive(&message, rng);
            while let Some(receipt) = b.say(NOW, rng) {
                a.receive(&receipt, rng);
            }
        }
        settle(&mut a, &mut b, rng);
    });
}

fn set_up_4(rng: &mut ChaCha20Rng) {
    let (mut a, mut b) = (Party::new("alice", "bob", rng), Party::new("bob", "alice", rng));
    let (keys, one_time) = b.keys.with_one_time(1, rng);
    b.keys = keys;
    let _published = b.keys.v4(b.name); // signed once, as when it was published
    serve(|n| {
        for _ in 0..n {
            let keys = b.keys.clone(); // with the one-time prekey still in them
            (a.record, b.record) = (PeerRecord::new(NOW), PeerRecord::new(NOW));
            a.begin(&b.shown(), one_time.first(), rng);
            let first = a.send(rng);
            b.receive(&first, rng);
            b.keys = keys;
        }
    });
}

fn sealing(rng: &mut ChaCha20Rng) {
    let (mut a, _) = conversation(rng);
    a.send(rng);
    let identity = a.keys.local_keys().identity();
    let key = StorageKey::derive(identity);
    serve(|n| {
        for _ in 0..n {
            let sealed = a.record.to_sealed(&key, a.name, a.peer, rng);
            a.record = PeerRecord::from_sealed(&key, identity, a.name, a.peer, &sealed).unwrap();
        }
    });
}

fn sizes(rng: &mut ChaCha20Rng) {
    let (mut a, mut b) = (Party::new("alice", "bob", rng), Party::new("bob", "alice", rng));
    let (keys, one_time) = b.keys.with_one_time(1, rng);
    b.keys = keys;
    a.begin(&b.shown(), one_time.first(), rng);
    let first = a.send(rng);
    b.receive(&first, rng);
    settle(&mut a, &mut b, rng);
    let later = a.send(rng).length();

    let theirs = b.keys.local_keys().bundle().verify().unwrap();
    let legacy = Record::new(a.keys.local_keys(), theirs, rng).unwrap();
    let sealed = legacy.encrypt(&TEXT, rng).unwrap();
    let wire_3 = BASE64.encode(sealed.header).len() + BASE64.encode(sealed.ciphertext).len();
    println!(r#"{{"first":{},"later":{later},"wire3":{wire_3}}}"#, first.length());
}

/// Sessions as they are after both sides have spoken, and nothing is under way.
fn memory(rng: &mut ChaCha20Rng) {
    const LIVE: usize = 1_000;
    let [alice, bob] = [(); 2].map(|()| Prekeys::new(&LocalKeys::generate(rng), NOW, rng));
    let mut kept = Vec::with_capacity(LIVE);
    let mut before = 0;
    for i in 0..LIVE + 100 {
        let mut a =
            Party { name: "alice", peer: "bob", keys: alice.clone(), record: PeerRecord::new(NOW) };
        let mut b =
            Party { name: "bob", peer: "alice", keys: bob.clone(), record: PeerRecord::new(NOW) };
        a.begin(&b.shown(), None, rng);
        let first = a.send(rng);
        b.receive(&first, rng);
        settle(&mut a, &mut b, rng);
        // The first hundred have warmed the allocator up; they are replaced.
        if i == 100 {
            before = resident();
        }
        if i >= 100 {
            kept.push(a.record);
        }
    }
    let live = (resident() - before) / LIVE;
    let key = StorageKey::derive(alice.local_keys().identity());
    let sealed = kept[0].to_sealed(&key, "alice", "bob", rng).len();
    println!(r#"{{"record":{live},"sealed":{sealed},"inline":{}}}"#, size_of::<PeerRecord>());
}

/// Records as a store has them: after a conversation, with nothing under way.
fn peers(count: usize, rng: &mut ChaCha20Rng) {
    const SESSIONS: usize = 1_000;
    let mut line = String::new();
    stdin().read_line(&mut line).unwrap();
    let digits = line.trim().as_bytes().chunks(2);
    let private: Vec<u8> = digits
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 16).unwrap())
        .collect();
    let identity = IdentityKeyPair::from_bytes(&private).unwrap();
    let key = StorageKey::derive(&identity);
    let keys = Prekeys::new(&LocalKeys::with_new_prekey(identity, rng), NOW, rng);
    let records: Vec<_> = (0..SESSIONS.min(count)).map(|_| idle(&keys, rng)).collect();
    let mut out = std::io::BufWriter::new(stdout().lock());
    for (i, record) in records.iter().cycle().take(count).enumerate() {
        let sealed = record.to_sealed(&key, "alice", &format!("peer {i}"), rng);
        writeln!(out, "{}", BASE64.encode(sealed)).unwrap();
    }
}

/// Alice's record of somebody whom she has heard.
fn idle(alice: &Prekeys, rng: &mut ChaCha20Rng) -> PeerRecord {
    let mut b = Party::new("bob", "alice", rng);
    let (keys, record) = (alice.clone(), PeerRecord::new(NOW));
    let mut a = Party { name: "alice", peer: "bob", keys, record };
    a.begin(&b.shown(), None, rng);
    let first = a.send(rng);
    b.receive(&first, rng);
    settle(&mut a, &mut b, rng);
    a.record
}

/// Bytes of memory in use by this process.
fn resident() -> usize {
    let kib = match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            line.unwrap().trim_end_matches("kB").to_owned()
        }
        Err(_) => {
            let pid = std::process::id().to_string();
            let ps = std::process::Command::new("ps").args(["-o", "rss=", "-p", &pid]).output();
            String::from_utf8(ps.unwrap().stdout).unwrap()
        }
    };
    kib.trim().parse::<usize>().unwrap() * 1024
}

fn main() {
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    match std::env::args().nth(1).as_deref() {
        Some("one-way-3") => one_way_3(rng),
        Some("one-way-4") => one_way_4(rng),
        Some("stream-4") => stream_4(rng),
        Some("set-up-4") => set_up_4(rng),
        Some("sealing") => sealing(rng),
        Some("sizes") => sizes(rng),
        Some("memory") => memory(rng),
        Some("peers") => peers(std::env::args().nth(2).unwrap().parse().unwrap(), rng),
        _ => eprintln!("see the head of examples/contestant.rs"),
    }
}
