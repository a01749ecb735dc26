# directory.pl - the action directory(): may the login send, as the directory says now
#
# A plugin of postfwd2, which looks for its tables in its own package. Each of its processes keeps one
# connection, and makes a new one when it was lost.

package postfwd2::server;

use strict;
use warnings;
use Net::LDAP;
use Net::LDAP::Util qw(escape_filter_value);

my $base = $ENV{LAB_BASE_DN};
my ($allowed, $status) = @ENV{qw(LAB_ATTR_SEND_ALLOWED LAB_ATTR_STATUS)};
my $connection;

sub connected {
    return $connection if $connection;
    open my $file, '<', '/run/postfwd/password' or die "the password: $!";
    my $password = do { local $/; <$file> };
    my $ldap = Net::LDAP->new('ldap://openldap:389', timeout => 4) or die "the directory: $@";
    for my $answer ($ldap->start_tls(verify => 'require', cafile => '/run/postfwd/ca.pem'),
                    $ldap->bind("cn=postfix,ou=services,$base", password => $password)) {
        die $answer->error if $answer->code;
    }
    return $connection = $ldap;
}

sub found {
    my ($login) = @_;
    my $answer = connected()->search(
        base => "ou=users,$base", scope => 'one', attrs => [$allowed, $status],
        filter => '(&(objectClass=posixAccount)(uid=' . escape_filter_value($login) . '))');
    die $answer->error if $answer->code;
    return $answer->entries;
}

sub decision {
    my ($login) = @_;
    return 'REJECT' unless length $login;
    my @entries = eval { found($login) };
    if ($@) {
        undef $connection;
        @entries = eval { found($login) };
    }
    return '450 4.7.1 The directory does not show the policy of this account' if $@ or @entries != 1;
    my $may = ($entries[0]->get_value($allowed) // 'TRUE') ne 'FALSE'
        && lc($entries[0]->get_value($status) // 'active') eq 'active';
    return $may ? 'OK' : '554 5.7.1 Sending is disabled for this account by directory policy';
}

our %postfwd_actions_plugin = (
    directory => sub {
        my ($index, $now, $command, $argument, $line, %request) = @_;
        return (1, $index, decision($request{sasl_username} // ''), $line, %request);
    },
);

1;
