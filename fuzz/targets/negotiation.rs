//! libFuzzer's entry for [`heteronym_fuzz::negotiation`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heteronym_fuzz::negotiation::run(data));
