//! libFuzzer's entry for [`heteronym_fuzz::framer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heteronym_fuzz::framer::run(data));
