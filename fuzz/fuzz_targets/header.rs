//! Any bytes: a header of 85 is taken apart and put together again, all else is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stvor_protocol::Header;

fuzz_target!(|bytes: &[u8]| match Header::parse(bytes) {
    Ok(header) => assert_eq!(header.to_bytes()[..], *bytes),
    Err(error) => assert!(bytes.len() != 85 && error.length == bytes.len()),
});
