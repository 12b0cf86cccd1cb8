//! Says what was decided about somebody.

use gaung_client::{Moderation, Role};
use gaung_proto::GroupName;
use service_kit::amount;

use crate::{model::context::ChatContext, ui_text::UiText};

/// Tells the person that the services honour the decision.
pub(super) fn tell(group: &GroupName, who: &str, what: Moderation, context: &mut ChatContext) {
    let (group, lang) = (("group", group.as_str()), context.lang);
    let name = ("name", who);
    match what {
        Moderation::Kick => context.inform(UiText::Kicked, &[name, group]),
        Moderation::Ban => context.inform(UiText::Banned, &[name, group]),
        Moderation::Unban => context.inform(UiText::Unbanned, &[name, group]),
        Moderation::Mute(time) => {
            let time = amount::duration_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            context.inform(UiText::Muted, &[name, group, ("time", &time)]);
        }
        Moderation::Unmute => context.inform(UiText::Unmuted, &[name, group]),
        Moderation::SetRole(role) => {
            let role = match role {
                Role::Owner => UiText::RoleOwner,
                Role::Admin => UiText::RoleAdmin,
                Role::Moderator => UiText::RoleModerator,
                Role::Member => UiText::RoleMember,
            };
            context.inform(UiText::HasRole, &[name, group, ("role", lang.text(role))]);
        }
    }
}
