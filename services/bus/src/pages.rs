//! Page tokens: where the next page begins, and of which request. What stays the same from page to
//! page is part of the token, so that nobody gets a page of something else than was asked for.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::Code;
use tsunagi_chassis::Refused;

/// The pages of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// What is asked for, in short.
    of: u64,
}

impl Pages {
    /// `request` has all that stays the same from page to page, and nothing else: no token, no size,
    /// no cursor.
    pub fn of(request: &impl Message) -> Self {
        let digest = Sha256::digest(request.encode_to_vec());
        let of = digest.first_chunk().copied().map(u64::from_be_bytes);
        Self { of: of.unwrap_or_default() }
    }

    /// The token of the page that begins at `place`. Behind the last page there is none, which is
    /// said by empty texts.
    pub fn token(self, place: &str) -> String {
        if place.is_empty() {
            return String::new();
        }
        BASE64_URL_SAFE_NO_PAD.encode(format!("{:016x} {place}", self.of))
    }

    /// The place of which `token` tells; none on the first page.
    pub fn place(self, token: &str) -> Result<Option<String>, Refused> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).or(Err(malformed()))?;
        let text = String::from_utf8(bytes).or(Err(malformed()))?;
        let (of, place) = text.split_once(' ').ok_or_else(malformed)?;
        let of = u64::from_str_radix(of, 16).or(Err(malformed()))?;
        if of == self.of { Ok(Some(place.to_owned())) } else { Err(of_other_request()) }
    }
}

/// Says that a token was never given out.
pub fn malformed() -> Refused {
    let message = "the page token is not one that this server gave out: use tokens as they came, or none for the first page";
    Refused::new(Code::InvalidArgument, "PAGE_TOKEN_MALFORMED", message)
}

fn of_other_request() -> Refused {
    let message = "the page token was given out for a request with other fields: send all fields as they were for the page before, or begin again without a token";
    Refused::new(Code::InvalidArgument, "PAGE_TOKEN_OF_OTHER_REQUEST", message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tsunagi_proto::v1;

    use super::*;

    fn pages(state: v1::PatientState) -> Pages {
        Pages::of(&v1::ListPatientsRequest { state: state.into(), ..Default::default() })
    }

    proptest! {
        #[test]
        fn a_token_leads_to_its_place_and_to_no_other_request(place in "[0-9a-f:/ -]{1,80}") {
            let token = pages(v1::PatientState::Visiting).token(&place);
            prop_assert!(token.len() <= 200);
            prop_assert_eq!(pages(v1::PatientState::Visiting).place(&token).unwrap(), Some(place));
            let other = pages(v1::PatientState::InHospital).place(&token).unwrap_err();
            prop_assert_eq!(other.reason, "PAGE_TOKEN_OF_OTHER_REQUEST");
        }

        #[test]
        fn any_text_is_read_or_refused(token in "\\PC*") {
            let _read_or_refused = pages(v1::PatientState::Visiting).place(&token);
        }
    }

    #[test]
    fn there_is_no_token_behind_the_last_page() {
        let pages = pages(v1::PatientState::Visiting);
        assert_eq!(pages.token(""), "");
        assert_eq!(pages.place("").unwrap(), None);
        for token in ["x", "eA", "eCB5"] {
            assert_eq!(pages.place(token).unwrap_err().reason, "PAGE_TOKEN_MALFORMED", "{token}");
        }
    }

    /// Whoever holds a token when the server is replaced goes on with it.
    #[test]
    fn tokens_are_the_same_for_ever() {
        let token = pages(v1::PatientState::InHospital).token("17 20");
        assert_eq!(token, "ZDhmZmI0MWY5Nzg1Y2MxNiAxNyAyMA");
    }
}
