//! libFuzzer's entry for [`heteronym_fuzz::configuration`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heteronym_fuzz::configuration::run(data));
