"""Knows which settings contradict or imply each other; does not know how single values are judged.

A rule gets all settings and their origins, and returns the settings, changed where one follows from another (then it
changes the origin too), or raises ConfigError with one sentence that names both sides and the remedy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from server_core.config.schema import SETTINGS
from server_core.errors import ConfigError
from server_core.settings import Settings

#: what the profile development sets where nobody has said anything.  One process, so that what is kept in it (a cache
#: in memory, a debugger's frames) behaves as beginners expect; threads, because a page may ask its own server.
#: An open page may hold a stream for ever: neither Ctrl-C nor a saved file should wait for that.
DEVELOPMENT: dict[str, object] = {
    "reload": True,
    "workers": 1,
    "threads": 8,
    "accesslog": "-",
    "access_log_format": "dev",
    "graceful_timeout": 3.0,
}


def development_implies(settings: Settings, origins: dict[str, str]) -> Settings:
    """The profile sets what nobody else has set."""
    if not settings.profile.develops:
        return settings
    for name, value in DEVELOPMENT.items():
        if is_default(origins[name]) and _suits(name, settings, origins):
            section = SETTINGS[name].section
            settings = replace(settings, **{section: replace(getattr(settings, section), **{name: value})})
            origins[name] = f"profile development ({origins['profile']})"
    return settings


def _suits(name: str, settings: Settings, origins: dict[str, str]) -> bool:
    """Does what the profile implies go together with what somebody has said?"""
    if name == "threads":  # who chooses a class without threads has chosen one thread
        return is_default(origins["worker_class"]) or settings.workers.worker_class == "gthread"
    if name == "access_log_format":  # a person looks at standard output; a file is read by programs
        return settings.logs.accesslog == "-"
    return True


def is_default(origin: str) -> bool:
    """Has nobody given the value of this origin?"""
    return origin == "default" or origin.startswith("default (")


def threads_need_a_class_with_threads(settings: Settings, origins: dict[str, str]) -> Settings:
    """Threads without a choice of class mean gthread, threads with the choice of sync are a contradiction."""
    workers = settings.workers
    if workers.threads == 1 or workers.worker_class != "sync":
        return settings
    if not is_default(origins["worker_class"]):
        raise ConfigError(
            f"worker_class sync ({origins['worker_class']}) runs one request at a time, but threads is "
            f"{workers.threads} ({origins['threads']}): choose worker_class gthread or threads 1."
        )
    origins["worker_class"] = "threads > 1"
    return replace(settings, workers=replace(workers, worker_class="gthread"))


def jitter_needs_a_limit(settings: Settings, origins: dict[str, str]) -> Settings:
    """A jitter that is added to no limit would do nothing."""
    workers = settings.workers
    for limit in ("max_requests", "max_worker_age"):
        jitter = f"{limit}_jitter"
        if getattr(workers, jitter) and not getattr(workers, limit):
            raise ConfigError(
                f"{jitter} is {getattr(workers, jitter):g} ({origins[jitter]}) but {limit} is 0 ({origins[limit]}): "
                f"set {limit} too, or leave the jitter out."
            )
    return settings


def workers_are_replaced_before_they_are_ended(settings: Settings, origins: dict[str, str]) -> Settings:
    """A hard limit that is reached first would leave the soft one without a meaning."""
    workers = settings.workers
    if 0 < workers.max_worker_memory_hard <= workers.max_worker_memory:
        raise ConfigError(
            f"max_worker_memory_hard ({origins['max_worker_memory_hard']}) is not more than max_worker_memory "
            f"({origins['max_worker_memory']}): a worker would be ended before it could be replaced; give it a good "
            "deal more."
        )
    return settings


def parts_of_the_head_fit_into_it(settings: Settings, origins: dict[str, str]) -> Settings:
    """A limit on a part that is above the limit on the whole would never be reached."""
    limits = settings.limits
    for name in ("limit_request_line", "limit_request_field_size"):
        if getattr(limits, name) > limits.limit_request_head:
            raise ConfigError(
                f"{name} is {getattr(limits, name)} ({origins[name]}) but the whole head may have only "
                f"{limits.limit_request_head} bytes ({origins['limit_request_head']}): raise limit_request_head too."
            )
    return settings


def hops_need_somebody_who_is_believed(settings: Settings, origins: dict[str, str]) -> Settings:
    """To count the entries of proxies that are not believed would do nothing."""
    proxy = settings.proxy
    if proxy.forwarded_hops and not proxy.forwarded_allow_ips:
        raise ConfigError(
            f"forwarded_hops is {proxy.forwarded_hops} ({origins['forwarded_hops']}) but forwarded_allow_ips names "
            f"nobody ({origins['forwarded_allow_ips']}): name the nearest proxy there, or * if it cannot be passed by."
        )
    return settings


def proxy_protocol_needs_both_sides(settings: Settings, origins: dict[str, str]) -> Settings:
    """To speak the PROXY protocol with nobody, or to name proxies that do not speak it, would do nothing."""
    proxy = settings.proxy
    if (proxy.proxy_protocol != "off") == bool(proxy.proxy_allow_ips):
        return settings
    if proxy.proxy_allow_ips:
        raise ConfigError(
            f"proxy_allow_ips is given ({origins['proxy_allow_ips']}) but proxy_protocol is off "
            f"({origins['proxy_protocol']}): set proxy_protocol to v1, v2 or any, or leave the addresses out."
        )
    raise ConfigError(
        f"proxy_protocol is {proxy.proxy_protocol} ({origins['proxy_protocol']}) but proxy_allow_ips names nobody "
        f"({origins['proxy_allow_ips']}): name the proxies that speak it."
    )


def hosts_are_checked_against_a_list(settings: Settings, origins: dict[str, str]) -> Settings:
    """To compare hosts with nothing would do nothing."""
    paths = settings.paths
    if paths.check_hosts and not paths.allowed_hosts:
        raise ConfigError(
            f"check_hosts is on ({origins['check_hosts']}) but allowed_hosts names nobody "
            f"({origins['allowed_hosts']}): name the hosts there, or leave check_hosts off."
        )
    return settings


def probes_have_two_paths(settings: Settings, origins: dict[str, str]) -> Settings:
    """Live and ready are two questions: who asks one of them for the other restarts a server that is only busy."""
    paths = settings.paths.health_path
    if paths and (len(paths) != 2 or paths[0] == paths[1]):
        raise ConfigError(
            f"health_path is {','.join(paths)} ({origins['health_path']}) but takes two different paths: first the one "
            "that says that the server lives, then the one that says whether it is ready, as in /-/live,/-/ready."
        )
    return settings


def a_pid_file_is_no_port(settings: Settings, origins: dict[str, str]) -> Settings:
    """In `flask run` -p is the port."""
    pidfile = settings.process.pidfile
    if pidfile is not None and pidfile.isdecimal():
        raise ConfigError(
            f'pidfile: "{pidfile}" ({origins["pidfile"]}) looks like a port: -p is the pid file here; the port is part '
            f"of --bind 127.0.0.1:{pidfile} (a pid file of that name is ./{pidfile})."
        )
    return settings


def a_certificate_of_its_own_is_for_development(settings: Settings, origins: dict[str, str]) -> Settings:
    """Nobody can know whose it is: in production that would be no protection."""
    if settings.tls.is_adhoc and not settings.profile.develops:
        raise ConfigError(
            f"certfile is adhoc ({origins['certfile']}) but profile is production ({origins['profile']}): no client "
            "can know whose certificate that is; name the files of one that a certificate authority has signed, or "
            "set profile to development."
        )
    return settings


def a_key_needs_its_certificate(settings: Settings, origins: dict[str, str]) -> Settings:
    """A key for no certificate, or for one that the server makes itself, would do nothing."""
    tls = settings.tls
    if tls.is_adhoc:
        for name in ("keyfile", "keyfile_password"):
            if getattr(tls, name) is not None:
                raise ConfigError(
                    f"{name} is given ({origins[name]}) but certfile is adhoc ({origins['certfile']}), which has a key "
                    f"of its own: leave {name} out, or name the file of its certificate."
                )
    if tls.keyfile is None or tls.certfile is not None:
        return settings
    raise ConfigError(
        f"keyfile is given ({origins['keyfile']}) but certfile is not ({origins['certfile']}): name the file of its "
        "certificate too."
    )


def https_needs_a_certificate_and_a_certificate_https(settings: Settings, origins: dict[str, str]) -> Settings:
    """An address cannot speak TLS without a certificate, and a certificate does nothing where no address does."""
    tls, bind = settings.tls, settings.sockets.bind
    if tls.certfile is None:
        for binding in bind:
            if binding.scheme == "https":
                raise ConfigError(
                    f"bind: {binding} ({origins['bind']}) is to speak TLS but certfile is not given "
                    f"({origins['certfile']}): name the file of its certificate."
                )
    elif not settings.speaks_tls:
        raise ConfigError(
            f"certfile is given ({origins['certfile']}) but all addresses of bind ({origins['bind']}) begin with "
            "http://: let one begin with https://, or leave the certificate out."
        )
    return settings


def what_redirects_to_https_does_not_speak_it(settings: Settings, origins: dict[str, str]) -> Settings:
    """Those who come by https have nowhere to go."""
    for binding in settings.tls.redirect_bind:
        if binding.scheme == "https":
            raise ConfigError(
                f"redirect_bind: {binding} ({origins['redirect_bind']}) is to speak https, but what comes there is "
                "redirected to https: write it with http://, or put it into bind."
            )
    return settings


def what_is_about_certificates_needs_one(settings: Settings, origins: dict[str, str]) -> Settings:
    """Without TLS these would do nothing, and somebody relies on them."""
    if settings.tls.certfile is None:
        for name in (
            *("keyfile_password", "ssl_minimum_version", "ciphers", "sni_certificates", "ca_certs", "cert_reqs"),
            *("ssl_context", "redirect_bind"),
        ):
            if getattr(settings.tls, name) != SETTINGS[name].default()[0]:
                raise ConfigError(
                    f"{name} is given ({origins[name]}) but certfile is not ({origins['certfile']}): without a "
                    "certificate the server does not speak TLS; name its file, or leave the setting out."
                )
    return settings


def certificates_by_name_are_for_names(settings: Settings, origins: dict[str, str]) -> Settings:
    """Who comes for an address says no name (RFC 6066, 3), and so would never be shown them."""
    for name, _, _ in settings.tls.sni_certificates:
        if not name.strip("0123456789."):
            raise ConfigError(
                f"sni_certificates: {name} ({origins['sni_certificates']}) is an address, and clients that come for an "
                "address are shown certfile: let that be the certificate for it."
            )
    return settings


def clients_are_verified_against_authorities(settings: Settings, origins: dict[str, str]) -> Settings:
    """Certificates that nobody vouches for, and authorities that are never asked, protect nothing."""
    tls = settings.tls
    if (tls.cert_reqs == "none") == (tls.ca_certs is None):
        return settings
    if tls.ca_certs is None:
        raise ConfigError(
            f"cert_reqs is {tls.cert_reqs} ({origins['cert_reqs']}) but ca_certs is not given ({origins['ca_certs']}): "
            "name the file of the authorities that vouch for clients."
        )
    raise ConfigError(
        f"ca_certs is given ({origins['ca_certs']}) but cert_reqs is none ({origins['cert_reqs']}): set it to required "
        "or optional, or leave the authorities out; those that vouch for the server's own certificate belong into "
        "certfile."
    )


Rule = Callable[[Settings, dict[str, str]], Settings]

RULES: tuple[Rule, ...] = (
    development_implies,
    threads_need_a_class_with_threads,
    jitter_needs_a_limit,
    workers_are_replaced_before_they_are_ended,
    parts_of_the_head_fit_into_it,
    hops_need_somebody_who_is_believed,
    proxy_protocol_needs_both_sides,
    hosts_are_checked_against_a_list,
    probes_have_two_paths,
    a_pid_file_is_no_port,
    a_certificate_of_its_own_is_for_development,
    a_key_needs_its_certificate,
    https_needs_a_certificate_and_a_certificate_https,
    what_is_about_certificates_needs_one,
    what_redirects_to_https_does_not_speak_it,
    certificates_by_name_are_for_names,
    clients_are_verified_against_authorities,
)
