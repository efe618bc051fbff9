//! Three lines of text: what parses is written as what parses to the same; nothing else verifies
//! than what was signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stvor_protocol::PrekeyBundle;

fuzz_target!(|text: &str| {
    let mut fields = text.splitn(3, '\n');
    let mut field = || fields.next().unwrap_or_default();
    let (identity_key, signed_prekey, signature) = (field(), field(), field());
    let Ok(bundle) = PrekeyBundle::parse_base64url(identity_key, signed_prekey, signature) else {
        return;
    };
    let again = PrekeyBundle::parse_base64url(
        &bundle.identity_key_base64url(),
        &bundle.signed_prekey_base64url(),
        &bundle.signature_base64url(),
    );
    assert_eq!(again.as_ref(), Ok(&bundle));
    if let Ok(verified) = bundle.verify() {
        let bundle = verified.as_bundle();
        assert!(!bundle.signature_base64url().is_empty());
    }
});
