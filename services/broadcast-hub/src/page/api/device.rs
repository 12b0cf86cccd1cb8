//! The device of a browser. The browser keeps 32 random bytes, the seed of an Ed25519 key. Browsers use keys only on pages
//! loaded over TLS or from their own machine, so the hub computes with the key for them, and keeps nothing.

use axum::{Json, extract::rejection::JsonRejection};
use ed25519_dalek::SigningKey;
use gaung_proto::DeviceId;
use serde::{Deserialize, Serialize};

use super::error::ApiError;

/// Bytes that JSON carries as hexadecimal digits.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Hex(pub(super) Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "expected an even number of hexadecimal digits";
        if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WRONG);
        }
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16);
        (0..text.len()).step_by(2).map(byte).collect::<Result<_, _>>().map(Self).map_err(|_| WRONG)
    }
}

/// Writes bytes as hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Derives the key from a browser's seed.
pub(super) fn key_of(seed: &Hex) -> Result<SigningKey, ApiError> {
    let seed: &[u8; 32] = seed.0.as_slice().try_into().map_err(|_| ApiError::invalid("a seed has 32 bytes"))?;
    Ok(SigningKey::from_bytes(seed))
}

#[derive(Deserialize)]
pub(super) struct DeviceRequest {
    seed: Hex,
}

/// The public half of a device's key, and its id.
#[derive(Serialize)]
pub(super) struct DeviceJson {
    /// 64 hexadecimal digits.
    public_key: String,
    /// 32 hexadecimal digits.
    device: String,
}

/// Answers with the device of a seed.
pub(super) async fn device(body: Result<Json<DeviceRequest>, JsonRejection>) -> Result<Json<DeviceJson>, ApiError> {
    let Json(request) = body?;
    let public_key = key_of(&request.seed)?.verifying_key().to_bytes();
    Ok(Json(DeviceJson { public_key: to_hex(&public_key), device: DeviceId::of_public_key(&public_key).to_string() }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_an_even_number_of_hexadecimal_digits_is_accepted() {
        assert_eq!(Hex::try_from("00ffA0".to_owned()).unwrap().0, [0, 255, 160]);
        for wrong in ["0", "0g", "é", "+1"] {
            assert!(Hex::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
