//! Safety numbers: what two people compare, as digits and as a QR code.

use napi::bindgen_prelude::{BufferSlice, Env, Result};
use napi_derive::napi;
use qrcode::render::svg;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode, Version, bits::Bits};
use stvor_protocol::{IdentityKey, SafetyNumber};

use crate::error::failure;

/// The smallest code that holds the bytes at [`CORRECTION`].
const VERSION: Version = Version::Normal(5);

/// Up to 15 of 100 modules may be unreadable: the middle way for codes on a screen.
const CORRECTION: EcLevel = EcLevel::M;

/// Pixels of a module: the image can be scaled, but has a size of its own.
const MODULE: u32 = 6;

#[napi]
pub struct NativeSafetyNumber {
    number: SafetyNumber,
    fingerprint: String,
}

impl NativeSafetyNumber {
    pub(crate) fn new(number: SafetyNumber, theirs: &IdentityKey) -> Self {
        Self { number, fingerprint: theirs.fingerprint() }
    }
}

#[napi]
impl NativeSafetyNumber {
    /// Of the peer's identity key that the number is of.
    #[napi(catch_unwind)]
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// In groups of five.
    #[napi(catch_unwind)]
    pub fn text(&self) -> String {
        self.number.to_string()
    }

    #[napi(catch_unwind)]
    pub fn bytes<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        BufferSlice::copy_from(env, self.number.to_bytes())
    }

    /// In constant time.
    #[napi(catch_unwind)]
    pub fn matches(&self, scanned: &[u8]) -> bool {
        self.number.matches(scanned)
    }

    /// An SVG image of the bytes.
    #[napi(catch_unwind)]
    pub fn svg(&self) -> Result<String> {
        let code = code(&self.number.to_bytes()).map_err(|error| {
            failure(
                "INVALID_ARGUMENT",
                &format!("No QR code can be made: {error}."),
                "Use toString().",
            )
        })?;
        let mut image = code.render::<svg::Color<'_>>();
        Ok(image.module_dimensions(MODULE, MODULE).build())
    }
}

/// In byte mode throughout: other modes make text of what is none, for some who read it.
fn code(bytes: &[u8]) -> std::result::Result<QrCode, QrError> {
    let mut bits = Bits::new(VERSION);
    bits.push_byte_data(bytes)?;
    bits.push_terminator(CORRECTION)?;
    QrCode::with_bits(bits, CORRECTION)
}
