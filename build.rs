//! Links the addon against Node's symbols; nothing else happens at build time.

fn main() {
    napi_build::setup();
}
