#!/usr/bin/env bash
# The off-boarding story told with bash, ldapmodify, swaks and curl, each beside its server, as one
# would by hand. Exits with 1 if a reply is not the one of the story.
#
# Usage: story.sh PROJECT DOMAIN BASE_DN, with ALICE and BOB, their passwords, in the environment.
set -eu
project=$1 domain=$2 base=$3
passwords() { case $1 in alice) printf '%s\n' "$ALICE" ;; bob) printf '%s\n' "$BOB" ;; esac; }

# send WHO TO AS CODE: submits a message whose Message-ID is $id, and wants this reply
send() {
    local said
    # swaks fails where it is refused, which may be what is wanted: its transcript is looked at.
    id="<$RANDOM.$RANDOM.$$@labctl.invalid>"
    said=$(passwords "$1" | docker exec -i "$project-postfix-1" swaks --server localhost:587 -tls \
        --auth PLAIN --auth-user "$1" --auth-hide-password --from "$3@$domain" --to "$2@$domain" \
        --h-Message-Id "$id" --h-Subject Story 2>&1) || true
    grep -q "^<[-~*]* *$4 " <<<"$said" || { printf '%s in place of %s\n' "$said" "$4" >&2; exit 1; }
}

# find WHO: waits until the message is in somebody's mailbox
find() {
    local tries
    for tries in {1..100}; do
        if passwords "$1" | docker exec -i "$project-dovecot-1" curl -sS -u "$1" --cacert /run/secrets/ca.pem \
            --url imaps://localhost/INBOX -X "UID SEARCH HEADER Message-ID $id" 2>/dev/null | grep -q '[0-9]'; then
            return
        fi
    done
    printf '%s did not arrive after %s looks\n' "$id" "$tries" >&2
    exit 1
}

# policy FLAG STATUS: changes both attributes of Alice
policy() {
    docker exec -i "$project-openldap-1" ldapmodify -x -H ldaps://openldap -y /run/secrets/policy-admin.password \
        -D "cn=policy-admin,ou=services,$base" >/dev/null <<END
dn: uid=alice,ou=users,$base
changetype: modify
replace: tnMailSendAllowed
tnMailSendAllowed: $1
-
replace: tnAccountStatus
tnAccountStatus: $2
END
}

send alice bob alice 250
find bob
policy FALSE offboarded
trap 'policy TRUE active' EXIT
send alice bob alice 554
send bob alice bob 250
find alice
send bob bob alice 553
policy TRUE active
trap - EXIT
send alice bob alice 250
find bob
