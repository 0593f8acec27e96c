//! Tables as text: terminal, Markdown, CSV, LaTeX and HTML.

mod cell;
mod csv;
mod html;
mod latex;
mod markdown;
mod terminal;

pub(crate) use self::cell::{range_text, shows_range};
pub use self::csv::csv;
pub(crate) use self::html::escape;
pub use self::html::html;
pub use self::latex::latex;
pub use self::markdown::markdown;
pub(crate) use self::markdown::{markdown_body, markdown_rows};
pub use self::terminal::{TerminalStyle, terminal};
