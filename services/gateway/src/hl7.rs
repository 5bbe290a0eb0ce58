//! HL7 v2 as it is really sent: bytes to text (`charset`), text to segments, fields and their
//! parts without copying (`message`), escapes both ways (`escape`), and messages written
//! (`writer`). No input panics; what is no message at all is told as `Unreadable`.

pub mod batch;
pub mod charset;
pub mod delimiters;
pub mod escape;
pub mod field;
pub mod message;
pub mod time;
pub mod writer;

pub use charset::{Charset, Decoded};
pub use delimiters::{Delimiters, Unreadable};
pub use field::Field;
pub use message::{Message, Segment};
