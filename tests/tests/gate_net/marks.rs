//! The marks packets arrive with.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
    recvmsg, socket,
};

use crate::stand::{Stand, set_option};

/// Marks of the TCP packets with payload that a raw socket sees arrive.
pub(crate) struct Marks(OwnedFd);

impl Marks {
    pub(crate) fn open(stand: &Stand) -> Self {
        /// asm-generic/socket.h; Linux 5.19.
        const SO_RCVMARK: libc::c_int = 75;
        let socket = stand.inside(&stand.server, || {
            let protocol = SockProtocol::Tcp;
            socket(
                AddressFamily::Inet,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK,
                protocol,
            )
            .unwrap()
        });
        set_option(&socket, libc::SOL_SOCKET, SO_RCVMARK, 1);
        Marks(socket)
    }

    pub(crate) fn take(&self) -> Vec<u32> {
        let mut marks = Vec::new();
        let mut packet = [0; 65_536];
        loop {
            let mut room = [std::io::IoSliceMut::new(&mut packet)];
            let mut control = nix::cmsg_space!(u32);
            let Ok(received) = recvmsg::<SockaddrIn>(
                self.0.as_raw_fd(),
                &mut room,
                Some(&mut control),
                MsgFlags::empty(),
            ) else {
                return marks;
            };
            let mark = received.cmsgs().unwrap().find_map(|message| match message {
                ControlMessageOwned::Unknown(unknown) => Some(u32::from_ne_bytes(
                    unknown.data_bytes[..4].try_into().unwrap(),
                )),
                _ => None,
            });
            // More than the headers.
            if received.bytes > 20 + usize::from(received.iovs().next().unwrap()[32] >> 4) * 4 {
                marks.push(mark.unwrap());
            }
        }
    }
}
