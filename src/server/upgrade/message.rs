//! What the two processes say to each other: one message a packet.
//!
//! A packet is a byte for its kind and what that kind carries; numbers are little-endian, texts
//! end with the packet or have their length before them. Descriptors travel beside the packet that
//! names them.

use std::net::SocketAddr;

use crate::{
    model::{credential::ClientId, time::Timestamp},
    proxy::revocations::Ended,
    server::socket::Listener,
    token::session::{SessionId, SessionKey},
};

/// The form of all messages but [`Message::Hello`], which stays as it is for ever: a process that
/// speaks another version is told so.
pub(super) const VERSION: u8 = 1;

/// Most bytes of a packet. The largest carries an ended session, whose cookie had 1 KiB.
pub(super) const PACKET: usize = 4_096;

/// What a hello begins with, so that two programs that meet by mistake part at once.
const GREETING: &[u8] = b"dcr-gateway upgrade";

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Either side, first: the version that it speaks.
    Hello(u8),
    /// Predecessor: a listening socket, which comes beside it, and what it is for. The address is
    /// the configured one, whose port may be 0.
    Listener(Listener, SocketAddr),
    /// Predecessor: an identity provider whose tokens it can verify now.
    Provider(Box<str>),
    /// Predecessor: an API whose upstream it can reach now.
    Upstream(Box<str>),
    /// Predecessor: seals sessions where no key is configured.
    SessionKey(SessionKey),
    /// Predecessor, and after [`Message::Leaving`] either side: sessions that ended before their
    /// time.
    Ended(Ended),
    /// Predecessor: that was all.
    All,
    /// Successor: it will not serve, and why.
    Refused(Box<str>),
    /// Successor: it serves.
    Serving,
    /// Predecessor: it stops accepting, and ends when what it has begun is answered.
    Leaving,
}

impl Message {
    /// The packet.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut packet = vec![self.kind()];
        match self {
            Self::Hello(version) => {
                packet.extend(GREETING);
                packet.push(*version);
            }
            Self::Listener(listener, address) => {
                packet.push(match listener {
                    Listener::Admin => 0,
                    Listener::Proxy => 1,
                    Listener::Status => 2,
                    Listener::Portal => 3,
                });
                packet.extend(address.to_string().as_bytes());
            }
            Self::Provider(text) | Self::Refused(text) | Self::Upstream(text) => {
                packet.extend(text.as_bytes())
            }
            Self::SessionKey(key) => packet.extend(key.expose()),
            Self::Ended(ended) => encode_ended(ended, &mut packet),
            Self::All | Self::Serving | Self::Leaving => {}
        }
        packet
    }

    /// Reads a packet; `None` where it is none of ours.
    pub(super) fn decode(packet: &[u8]) -> Option<Self> {
        let (kind, rest) = packet.split_first()?;
        let text = || Some(std::str::from_utf8(rest).ok()?.into());
        let bare = |message: Self| rest.is_empty().then_some(message);
        match kind {
            0 => match rest.strip_prefix(GREETING)? {
                [version] => Some(Self::Hello(*version)),
                _ => None,
            },
            1 => {
                let (listener, address) = rest.split_first()?;
                let listener = match listener {
                    0 => Listener::Admin,
                    1 => Listener::Proxy,
                    2 => Listener::Status,
                    3 => Listener::Portal,
                    _ => return None,
                };
                let address = std::str::from_utf8(address).ok()?.parse().ok()?;
                Some(Self::Listener(listener, address))
            }
            2 => text().map(Self::Provider),
            3 => Some(Self::SessionKey(SessionKey::from_bytes(
                rest.try_into().ok()?,
            ))),
            4 => decode_ended(rest).map(Self::Ended),
            5 => bare(Self::All),
            6 => text().map(Self::Refused),
            7 => bare(Self::Serving),
            8 => bare(Self::Leaving),
            9 => text().map(Self::Upstream),
            _ => None,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 0,
            Self::Listener(..) => 1,
            Self::Provider(_) => 2,
            Self::SessionKey(_) => 3,
            Self::Ended(_) => 4,
            Self::All => 5,
            Self::Refused(_) => 6,
            Self::Serving => 7,
            Self::Leaving => 8,
            Self::Upstream(_) => 9,
        }
    }
}

fn encode_ended(ended: &Ended, packet: &mut Vec<u8>) {
    let (id, time, (strategy, client)) = match ended {
        Ended::AllBefore { owner, time } => (None, time, owner),
        Ended::Single { id, until, owner } => (Some(id), until, &**owner),
    };
    packet.push(u8::from(id.is_some()));
    packet.extend(time.millis().to_le_bytes());
    packet.extend(id.map(SessionId::bytes).unwrap_or_default());
    // A session's strategy came out of a cookie, which is shorter than this can say.
    let length = u16::try_from(strategy.len()).unwrap_or(u16::MAX);
    packet.extend(length.to_le_bytes());
    packet.extend(strategy.as_bytes());
    packet.extend(client.as_str().as_bytes());
}

fn decode_ended(bytes: &[u8]) -> Option<Ended> {
    let (is_single, bytes) = bytes.split_first()?;
    let (time, bytes) = bytes.split_first_chunk::<8>()?;
    let (id, bytes) = bytes.split_first_chunk::<16>()?;
    let (length, bytes) = bytes.split_first_chunk::<2>()?;
    let (strategy, client) = bytes.split_at_checked(u16::from_le_bytes(*length).into())?;
    let strategy: Box<str> = std::str::from_utf8(strategy).ok()?.into();
    let owner = (strategy, ClientId::new(std::str::from_utf8(client).ok()?)?);
    let time = Timestamp::from_millis(i64::from_le_bytes(*time));
    match is_single {
        0 if *id == [0; 16] => Some(Ended::AllBefore { owner, time }),
        1 => Some(Ended::Single {
            id: SessionId::from_bytes(*id),
            until: time,
            owner: owner.into(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_message() -> impl Strategy<Value = Message> {
        let listener = prop_oneof![
            Just(Listener::Admin),
            Just(Listener::Portal),
            Just(Listener::Proxy),
            Just(Listener::Status)
        ];
        let owner =
            ("[^\\pC]{0,40}", "[^\\pC]{1,40}").prop_map(|(s, c)| (s.into(), ClientId::new(c)));
        let owner = owner.prop_filter_map("a client id", |(s, c)| Some((s, c?)));
        let ended =
            (any::<Option<[u8; 16]>>(), any::<i64>(), owner).prop_map(|(id, time, owner)| {
                let time = Timestamp::from_millis(time);
                match id.map(SessionId::from_bytes) {
                    None => Ended::AllBefore { owner, time },
                    Some(id) => Ended::Single {
                        id,
                        until: time,
                        owner: std::sync::Arc::new(owner),
                    },
                }
            });
        prop_oneof![
            any::<u8>().prop_map(Message::Hello),
            (listener, any::<std::net::SocketAddrV4>())
                .prop_map(|(l, a)| Message::Listener(l, a.into())),
            ".{0,60}".prop_map(|text| Message::Provider(text.into())),
            ".{0,60}".prop_map(|text| Message::Upstream(text.into())),
            ".{0,60}".prop_map(|text| Message::Refused(text.into())),
            any::<[u8; 32]>().prop_map(|key| Message::SessionKey(SessionKey::from_bytes(key))),
            ended.prop_map(Message::Ended),
            Just(Message::All),
            Just(Message::Serving),
            Just(Message::Leaving),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(message in any_message()) {
            let packet = message.encode();
            prop_assert!(packet.len() <= PACKET);
            prop_assert_eq!(Message::decode(&packet), Some(message));
        }

        #[test]
        fn what_is_heard_is_what_was_said(packet in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(message) = Message::decode(&packet) {
                // An address can be spelled in more ways than one.
                if !matches!(message, Message::Listener(..)) {
                    prop_assert_eq!(message.encode(), packet);
                }
            }
        }
    }

    #[test]
    fn the_hello_never_changes() {
        assert_eq!(Message::Hello(1).encode(), b"\0dcr-gateway upgrade\x01");
        assert_eq!(
            Message::decode(b"\0dcr-gateway upgrade\x09"),
            Some(Message::Hello(9))
        );
        assert_eq!(Message::decode(b"\0dcr-gateway upgrade"), None);
        assert_eq!(Message::decode(b"\0dcr-gateway upgrade\x01\x01"), None);
    }
}
