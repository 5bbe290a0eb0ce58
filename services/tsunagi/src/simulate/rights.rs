//! Who may see, decide and speak: consents, proxies, wishes, who looked, what is to be erased; and
//! who belongs to the team.

use tsunagi_proto::v1;

use super::living_at_home::living_at_home;
use super::region::{Person, code};
use super::teller::{Stop, Story, tell};

/// A year of decisions in some weeks.
pub(super) async fn rights(story: &mut Story) -> Result<(), Stop> {
    let nurse = story.team.visiting_nurse();
    story.after(1, 10, 0);
    who_it_is(story, nurse).await?;
    consents(story, nurse).await?;
    proxies_and_wishes(story, nurse).await?;
    looking_in(story, nurse).await?;
    erasure(story).await?;
    joining_and_leaving(story, nurse).await?;
    living_at_home(story).await
}

async fn who_it_is(story: &mut Story, nurse: Person) -> Result<(), Stop> {
    let value = story.new_id();
    tell!(story, nurse, home_care.link_identifier(LinkIdentifierRequest {
        v1::IdentifierLinked {
            identifier: Some(v1::Identifier {
                system: format!("urn:tsunagi:simulated:{}", nurse.office.id),
                value,
            }),
        }
    }));
    let demographics = Some(story.demographics());
    tell!(story, nurse, home_care.update_demographics(UpdateDemographicsRequest {
        v1::DemographicsUpdated { demographics, keeps: Vec::new(), withdraws: Vec::new() }
    }));
    tell!(story, nurse, care_team.record_allergies(RecordAllergiesRequest {
        v1::AllergiesRecorded {
            facility: Some(story.team.acute.named()),
            recorded: 1,
            removed: 0,
        }
    }));
    Ok(())
}

async fn consents(story: &mut Story, nurse: Person) -> Result<(), Stop> {
    let consent = |consent_id: &str, purpose: &str, data: &[&str]| v1::Consent {
        consent_id: consent_id.to_owned(),
        purposes: vec![code("consent.purpose", purpose, "")],
        data_classes: data.iter().map(|of| code("consent.data-class", of, "")).collect(),
        ..v1::Consent::default()
    };
    let ended = |consent_id: &str| v1::ConsentEnded {
        consent_id: consent_id.to_owned(),
        note: String::new(),
    };
    let (shared, lent) = (story.new_id(), story.new_id());
    tell!(story, nurse, care_team.grant_consent(GrantConsentRequest {
        consent(&shared, "regional-sharing", &["all"])
    }));
    tell!(story, nurse, care_team.grant_consent(GrantConsentRequest {
        consent(&lent, "family-view", &["home-care"])
    }));
    story.after(5, 10, 0);
    tell!(story, nurse, care_team.narrow_consent(NarrowConsentRequest {
        consent(&shared, "regional-sharing", &["encounters", "home-care"])
    }));
    story.after(5, 10, 0);
    tell!(story, nurse, care_team.withdraw_consent(WithdrawConsentRequest { ended(&shared) }));
    tell!(story, nurse, care_team.expire_consent(ExpireConsentRequest { ended(&lent) }));
    let note = || v1::SecondaryUse { note: String::new() };
    tell!(story, nurse, care_team.opt_into_secondary_use(OptIntoSecondaryUseRequest { note() }));
    story.after(1, 10, 0);
    tell!(story, nurse, care_team.opt_out_of_secondary_use(OptOutOfSecondaryUseRequest { note() }));
    Ok(())
}

async fn proxies_and_wishes(story: &mut Story, nurse: Person) -> Result<(), Stop> {
    let proxy_id = story.new_id();
    let proxy = |scope: &str| v1::Proxy {
        proxy_id: proxy_id.clone(),
        proxy: Some(v1::Participant { role: "family".to_owned(), ..Default::default() }),
        kind: Some(code("proxy.kind", "family", "")),
        scope: scope.to_owned(),
        ..v1::Proxy::default()
    };
    story.after(2, 14, 0);
    tell!(story, nurse, care_team.appoint_proxy(AppointProxyRequest { proxy("医療の説明への同席") }));
    tell!(story, nurse, care_team.change_proxy(ChangeProxyRequest { proxy("治療の選択") }));
    tell!(story, nurse, care_team.record_acp_discussion(RecordAcpDiscussionRequest {
        v1::AcpDiscussionHeld {
            participants: vec![nurse.taking_part(v1::Means::InPerson)],
            summary: "これからの過ごし方について家族と話した".to_owned(),
        }
    }));
    let (first, second) = (story.new_id(), story.new_id());
    let wish = |preference_id: &str, preference: &str| v1::AcpPreferenceRecorded {
        preference_id: preference_id.to_owned(),
        scope: vec![code("acp.scope", "hospitalisation", "")],
        preference: preference.to_owned(),
        ..v1::AcpPreferenceRecorded::default()
    };
    tell!(story, nurse, care_team.record_acp_preference(RecordAcpPreferenceRequest {
        wish(&first, "入院はしたくない。")
    }));
    story.after(6, 14, 0);
    tell!(story, nurse, care_team.record_acp_preference(RecordAcpPreferenceRequest {
        wish(&second, "苦しいときは入院も考える。")
    }));
    tell!(story, nurse, care_team.supersede_acp_preference(SupersedeAcpPreferenceRequest {
        v1::AcpPreferenceSuperseded {
            preference_id: first,
            superseded_by_preference_id: second,
            reason: String::new(),
        }
    }));
    tell!(story, nurse, care_team.revoke_proxy(RevokeProxyRequest {
        v1::ProxyRevoked { proxy_id: proxy_id.clone(), reason: "本人の希望".to_owned() }
    }));
    Ok(())
}

/// Who looked, whom it was given to, and who had to look at night.
async fn looking_in(story: &mut Story, nurse: Person) -> Result<(), Stop> {
    let doctor = Person { role: "doctor", id: "d-3", ..story.team.acute.liaison_nurse() };
    let liaison = story.team.acute.liaison_nurse();
    let items = || vec![code("consent.data-class", "home-care", "")];
    let purpose = || Some(code("consent.purpose", "care", ""));
    tell!(story, nurse, care_team.record_access(RecordAccessRequest {
        v1::AccessViewed { items: items(), purpose: purpose() }
    }));
    tell!(story, nurse, care_team.record_disclosure(RecordDisclosureRequest {
        v1::DisclosureRecorded {
            recipient: Some(story.team.acute.named()),
            items: items(),
            purpose: purpose(),
            means: v1::Means::Fax.into(),
            consent_id: String::new(),
        }
    }));
    story.after(3, 2, 0);
    let (access_id, until_at) = (story.new_id(), story.minutes_ahead(120));
    tell!(story, doctor, care_team.open_in_emergency(OpenInEmergencyRequest {
        v1::BreakGlassOpened {
            access_id: access_id.clone(),
            reason: "意識障害で搬送。既往を確認".to_owned(),
            until_at,
        }
    }));
    let step =
        |note: &str| v1::BreakGlassStep { access_id: access_id.clone(), note: note.to_owned() };
    tell!(story, doctor, care_team.close_emergency_access(CloseEmergencyAccessRequest { step("") }));
    story.after(1, 9, 0);
    tell!(story, liaison, care_team.review_emergency_access(ReviewEmergencyAccessRequest {
        step("必要と認める")
    }));
    Ok(())
}

async fn erasure(story: &mut Story) -> Result<(), Stop> {
    let (who, erasure_id) = (story.team.care_manager(), story.new_id());
    let erasure = |note: &str| v1::Erasure {
        erasure_id: erasure_id.clone(),
        data_classes: vec![code("consent.data-class", "social", "")],
        note: note.to_owned(),
    };
    story.after(2, 11, 0);
    tell!(story, who, care_team.request_erasure(RequestErasureRequest { erasure("本人の申し出") }));
    tell!(story, who, care_team.restrict_use(RestrictUseRequest { erasure("") }));
    story.after(10, 11, 0);
    tell!(story, who, care_team.record_erasure(RecordErasureRequest { erasure("") }));
    Ok(())
}

async fn joining_and_leaving(story: &mut Story, nurse: Person) -> Result<(), Stop> {
    let member = || vec![nurse.taking_part(v1::Means::Unspecified)];
    tell!(story, nurse, care_team.join_team(JoinTeamRequest {
        v1::TeamMemberJoined { members: member(), encounter_id: String::new() }
    }));
    let (from_at, to_at) = (story.time_ahead(0, 18), story.time_ahead(1, 9));
    tell!(story, nurse, care_team.change_on_call(ChangeOnCallRequest {
        v1::OnCallChanged {
            on_call: Some(nurse.taking_part(v1::Means::Telephone)),
            from_at,
            to_at,
            telephone: String::new(),
        }
    }));
    story.after(20, 10, 0);
    tell!(story, nurse, care_team.leave_team(LeaveTeamRequest {
        v1::TeamMemberLeft { members: member(), reason: "担当の交代".to_owned() }
    }));
    Ok(())
}
