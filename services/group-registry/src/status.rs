//! Converts each error to a gRPC status: a code as the schema says, a text that says what to do, and an `ErrorInfo`
//! whose reason programs can match.

use std::{collections::HashMap, fmt::Display};

use gaung_proto::policy::PolicyError;
use service_kit::share::TooSoon;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    caller::DeviceError, challenge::CallError, create::CreateError, enrol::EnrolRefusal, invites::InviteError,
    lookup::LookupError, members::JoinError, owner::OwnerError, policies::SetPolicyError, reports::ReportError,
    services::RegisterError, store::StoreError,
};

/// The `domain` of every `ErrorInfo`.
const DOMAIN: &str = "gaung";

pub(crate) trait ToStatus {
    fn to_status(&self) -> Status;
}

/// Makes the status for a field that is not valid.
pub(crate) fn invalid(field: &'static str, why: impl Display) -> Status {
    let why = why.to_string();
    let mut details = ErrorDetails::with_bad_request_violation(field, why.clone());
    details.set_error_info("INVALID_FIELD", DOMAIN, HashMap::new());
    Status::with_error_details(Code::InvalidArgument, why, details)
}

fn status(code: Code, reason: &str, error: &impl Display) -> Status {
    Status::with_error_details(code, error.to_string(), ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new()))
}

impl ToStatus for StoreError {
    fn to_status(&self) -> Status {
        match self {
            Self::Unavailable(_) => status(Code::Unavailable, "STORE_UNAVAILABLE", self),
            Self::Damaged(_) => status(Code::DataLoss, "STORE_DAMAGED", self),
        }
    }
}

impl ToStatus for TooSoon {
    fn to_status(&self) -> Status {
        status(Code::ResourceExhausted, "TOO_MANY_CALLS", self)
    }
}

impl ToStatus for LookupError {
    fn to_status(&self) -> Status {
        match self {
            Self::NotFound(_) => status(Code::NotFound, "NO_SUCH_GROUP", self),
            Self::Store(error) => error.to_status(),
        }
    }
}

impl ToStatus for CreateError {
    fn to_status(&self) -> Status {
        match self {
            Self::NameTaken(_) => status(Code::AlreadyExists, "NAME_TAKEN", self),
            Self::NameReserved(_) => status(Code::AlreadyExists, "NAME_RESERVED", self),
            Self::Address(refusal) => invalid("address", refusal),
            Self::AddressTaken { .. } => status(Code::AlreadyExists, "ADDRESS_TAKEN", self),
            Self::AddressResting { .. } => status(Code::AlreadyExists, "ADDRESS_RESTING", self),
            Self::EndpointTaken => status(Code::Aborted, "TRY_AGAIN", self),
            Self::OtherRequest => invalid("request_id", self),
            Self::Deleted => status(Code::NotFound, "GROUP_DELETED", self),
            Self::NoRelay => status(Code::Unavailable, "NO_RELAY", self),
            Self::TooMany { .. } | Self::TooManyOfDevice { .. } => {
                status(Code::ResourceExhausted, "TOO_MANY_GROUPS", self)
            }
            Self::Exhausted(exhausted) => status(Code::ResourceExhausted, "POOL_EXHAUSTED", exhausted),
            Self::Store(error) => error.to_status(),
        }
    }
}

impl ToStatus for CallError {
    fn to_status(&self) -> Status {
        match self {
            Self::Signature(_) => status(Code::Unauthenticated, "BAD_SIGNATURE", self),
            Self::NonceExpired => status(Code::Unauthenticated, "NONCE_EXPIRED", self),
            Self::NonceUsed => status(Code::Unauthenticated, "NONCE_USED", self),
            Self::OtherDevice => status(Code::PermissionDenied, "OTHER_DEVICE", self),
            Self::Full => status(Code::ResourceExhausted, "TOO_MANY_CALLS", self),
            Self::TooSoon(error) => error.to_status(),
        }
    }
}

impl ToStatus for DeviceError {
    fn to_status(&self) -> Status {
        let reason = match self {
            Self::Unproven => "DEVICE_NOT_PROVEN",
            Self::Other(_) => "OTHER_DEVICE",
        };
        status(Code::PermissionDenied, reason, self)
    }
}

impl ToStatus for OwnerError {
    fn to_status(&self) -> Status {
        match self {
            Self::Call(error) => error.to_status(),
            Self::Lookup(error) => error.to_status(),
            Self::NotOwner(_) => status(Code::PermissionDenied, "NOT_OWNER", self),
            Self::Reserved(_) => status(Code::PermissionDenied, "GROUP_RESERVED", self),
        }
    }
}

impl ToStatus for SetPolicyError {
    fn to_status(&self) -> Status {
        match self {
            Self::Lookup(error) => error.to_status(),
            Self::TooSoon(error) => error.to_status(),
            Self::Policy(PolicyError::Malformed) => invalid("policy", self),
            Self::Policy(PolicyError::Signature(_)) => status(Code::Unauthenticated, "BAD_SIGNATURE", self),
            Self::Policy(PolicyError::TooMany(_)) => status(Code::ResourceExhausted, "POLICY_FULL", self),
            Self::Policy(PolicyError::NoOwner) => status(Code::PermissionDenied, "GROUP_RESERVED", self),
            Self::Policy(PolicyError::Outdated { .. }) => status(Code::Aborted, "POLICY_CHANGED", self),
            Self::Policy(PolicyError::NotAllowed(_)) => status(Code::PermissionDenied, "ROLE_TOO_LOW", self),
            Self::Policy(PolicyError::Contradiction(_)) => invalid("policy", self),
        }
    }
}

impl ToStatus for JoinError {
    fn to_status(&self) -> Status {
        match self {
            Self::Lookup(error) => error.to_status(),
            Self::Private(_) => status(Code::PermissionDenied, "GROUP_PRIVATE", self),
            Self::Policy(_) => status(Code::PermissionDenied, "BANNED", self),
            Self::Full(_) => status(Code::ResourceExhausted, "TOO_MANY_MEMBERS", self),
            Self::TooSoon(error) => error.to_status(),
        }
    }
}

impl ToStatus for InviteError {
    fn to_status(&self) -> Status {
        match self {
            Self::Call(error) => error.to_status(),
            Self::Lookup(error) => error.to_status(),
            Self::Join(error) => error.to_status(),
            Self::NotMember(_) => status(Code::PermissionDenied, "NOT_MEMBER", self),
            Self::NotInviter => status(Code::PermissionDenied, "NOT_MAKER", self),
            Self::TooManyFailures(_) => status(Code::ResourceExhausted, "TOO_MANY_CALLS", self),
            Self::Unknown => status(Code::NotFound, "NO_SUCH_INVITE", self),
            Self::Expired => status(Code::PermissionDenied, "INVITE_EXPIRED", self),
            Self::Revoked => status(Code::PermissionDenied, "INVITE_REVOKED", self),
            Self::UsedUp => status(Code::PermissionDenied, "INVITE_USED_UP", self),
        }
    }
}

impl ToStatus for RegisterError {
    fn to_status(&self) -> Status {
        match self {
            Self::Full | Self::OwnShare => status(Code::ResourceExhausted, "TOO_MANY_SERVICES", self),
            Self::Elsewhere => status(Code::AlreadyExists, "SERVICE_ELSEWHERE", self),
            Self::TooSoon(error) => error.to_status(),
            Self::Store(error) => error.to_status(),
        }
    }
}

impl ToStatus for EnrolRefusal {
    fn to_status(&self) -> Status {
        match self {
            Self::Plaintext => status(Code::Unauthenticated, "TLS_REQUIRED", self),
            Self::Token(_) => status(Code::Unauthenticated, "TOKEN_REFUSED", self),
            Self::NotProven => status(Code::Unauthenticated, "NOT_PROVEN", self),
            Self::TooSoon(error) => error.to_status(),
            Self::Authority(_) => status(Code::Unavailable, "NO_CERTIFICATE", self),
        }
    }
}

impl ToStatus for ReportError {
    fn to_status(&self) -> Status {
        match self {
            Self::NotRegistered(_) => status(Code::FailedPrecondition, "NOT_REGISTERED", self),
            Self::Elsewhere(_) => status(Code::PermissionDenied, "SERVICE_ELSEWHERE", self),
            Self::Store(error) => error.to_status(),
        }
    }
}
