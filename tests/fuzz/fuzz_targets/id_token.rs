#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dcr_gateway_fuzz::run("id_token", input));
