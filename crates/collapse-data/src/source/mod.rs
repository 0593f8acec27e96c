//! Finding sets in a folder by what files hold, and loading them.

mod found;
mod hub;
mod load;
mod options;
mod own;

pub use hub::hub_cache;
pub(crate) use load::set_name;
pub use load::{load, load_path, locate_files};
pub use options::LoadOptions;
pub use own::load_own;
