//! Key pairs and their public halves, a type for each role.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::KeyError;
use crate::curve::{self, DhOutput};
use crate::fingerprint::fingerprint;

/// Declares the two halves of one role: one representation, types that cannot be confused.
macro_rules! key_pair {
    ($(#[$pair_doc:meta])* $pair:ident, $(#[$public_doc:meta])* $public:ident) => {
        $(#[$public_doc])*
        #[derive(Clone)]
        pub struct $public(curve::PublicKey);

        impl $public {
            /// Parses 65 bytes, `04 || x || y`, and checks that they are a point on the curve.
            ///
            /// # Errors
            ///
            /// [`KeyError::Public`]
            pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
                curve::PublicKey::parse(bytes).map(Self).ok_or(KeyError::Public)
            }

            /// The 65 bytes, `04 || x || y`.
            pub fn as_bytes(&self) -> &[u8; 65] {
                self.0.as_bytes()
            }

            pub(crate) fn point(&self) -> &curve::PublicKey {
                &self.0
            }

            /// The same key, for keeping while it is not used: see
            /// [`curve::PublicKey::without_handle`].
            #[allow(dead_code, reason = "not every role is kept")]
            pub(crate) fn at_rest(&self) -> Self {
                Self(self.0.without_handle())
            }
        }

        impl From<curve::PublicKey> for $public {
            fn from(point: curve::PublicKey) -> Self {
                Self(point)
            }
        }

        impl PartialEq for $public {
            fn eq(&self, other: &Self) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl Eq for $public {}

        impl fmt::Debug for $public {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($public)).finish_non_exhaustive()
            }
        }

        $(#[$pair_doc])*
        #[derive(Clone)]
        pub struct $pair {
            private: curve::PrivateKey,
            /// Empty until it is asked for, of a pair that was [kept](Self::kept).
            public: Arc<OnceLock<$public>>,
        }

        impl $pair {
            /// Makes a new key pair. Draws 32 bytes from `rng`, and 32 more for as long as they
            /// are no valid scalar (one attempt in 2^32).
            pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
                let (private, public) = curve::PrivateKey::generate(rng);
                Self::new(private, public)
            }

            fn new(private: curve::PrivateKey, public: curve::PublicKey) -> Self {
                Self { private, public: Arc::new(OnceLock::from($public(public))) }
            }

            /// Reads a private key of 32 bytes that we have written. Costs next to nothing until
            /// the pair is used.
            #[allow(dead_code, reason = "not every role is kept")]
            pub(crate) fn kept(private_key: &[u8; 32]) -> Result<Self, KeyError> {
                let private = curve::PrivateKey::kept(private_key).ok_or(KeyError::Private)?;
                Ok(Self { private, public: Arc::default() })
            }

            /// Reads a private key: a big-endian scalar of at most 32 bytes. Shorter ones, as the
            /// original writes them, are padded on the left. Costs a scalar multiplication.
            ///
            /// # Errors
            ///
            /// [`KeyError::Private`]
            pub fn from_bytes(private_key: &[u8]) -> Result<Self, KeyError> {
                let (private, public) =
                    curve::PrivateKey::from_short_scalar(private_key).ok_or(KeyError::Private)?;
                Ok(Self::new(private, public))
            }

            /// Reads a private key as [`from_bytes`](Self::from_bytes) does, and checks that
            /// `public_key` belongs to it.
            ///
            /// # Errors
            ///
            /// [`KeyError::Private`], [`KeyError::Mismatch`]
            pub fn from_halves(public_key: &[u8], private_key: &[u8]) -> Result<Self, KeyError> {
                let pair = Self::from_bytes(private_key)?;
                let matches = pair.public().as_bytes() == public_key;
                if matches { Ok(pair) } else { Err(KeyError::Mismatch) }
            }

            /// The public half.
            pub fn public(&self) -> &$public {
                self.public.get_or_init(|| $public(self.private.public()))
            }

            /// The private key, always 32 bytes.
            pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
                self.private.to_scalar()
            }

            /// The private key as the original writes it: without leading zero bytes.
            pub fn to_short_bytes(&self) -> Zeroizing<Vec<u8>> {
                let scalar = self.to_bytes();
                let zeros = scalar.iter().take_while(|&&byte| byte == 0).count();
                Zeroizing::new(scalar[zeros..].to_vec())
            }

            /// `DH(self, theirs)`.
            pub(crate) fn agree(&self, theirs: &curve::PublicKey) -> DhOutput {
                self.private.agree(theirs)
            }
        }

        impl fmt::Debug for $pair {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($pair)).finish_non_exhaustive()
            }
        }
    };
}

key_pair!(
    /// The identity key pair `IK`: who a user is. Signs prekeys and takes part in the agreement.
    IdentityKeyPair,
    /// The public identity key `IK`, which a fingerprint pins.
    IdentityKey
);

key_pair!(
    /// The signed prekey pair `SPK`: what others agree with while its owner is away.
    SignedPrekeyPair,
    /// The public signed prekey `SPK`, as it stands in a bundle.
    SignedPrekey
);

key_pair!(
    /// The own ratchet key pair `DHs`.
    RatchetKeyPair,
    /// A ratchet public key: ours in the headers we send, `DHr` in those we receive.
    RatchetPublicKey
);

impl IdentityKeyPair {
    /// Signs `message`: ECDSA over SHA-256, DER. Takes no `rng`: the backend chooses the nonce.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.private.sign(message)
    }
}

impl IdentityKey {
    /// Whether `signature` is this key's over `message`: ECDSA over SHA-256, strict DER; high and
    /// low `s` are both accepted, as the original produces both.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.point().verify(message, signature)
    }

    /// Lower-case hex SHA-256 of the 65 bytes.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.as_bytes())
    }
}

impl SignedPrekeyPair {
    /// The responder's first ratchet key pair is its signed prekey pair.
    ///
    /// Spec: Double Ratchet, section 7.1 ("Integration with X3DH").
    pub(crate) fn as_ratchet_key(&self) -> RatchetKeyPair {
        RatchetKeyPair::new(self.private.clone(), self.public().0.clone())
    }
}
