-- mod_heteronym: hands every stanza for a remote domain to the heteronym router.
--
-- One TCP connection, which Prosody opens to the router's component listener (XEP-0114), carries
-- the stanzas of all hosts, components included, in both directions; mod_s2s and mod_dialback are
-- not needed. Set-up and options: docs/servers/prosody.md. For Prosody 0.12 and later.

module:set_global();

local add_task = require "util.timer".add_task;
local async = require "util.async";
local connect = require "net.connect".connect;
local jid = require "util.jid";
local new_resolver = require "net.resolvers.basic".new;
local new_stream = require "util.xmppstream".new;
local now = require "util.time".now;
local sha1 = require "util.hashes".sha1;
local st = require "util.stanza";

local hosts = prosody.hosts;

local xmlns_component = "jabber:component:accept";
local xmlns_errors = "urn:ietf:params:xml:ns:xmpp-streams";
local xmlns_sm = "urn:xmpp:sm:3";
local is_stanza = { message = true, presence = true, iq = true };

local negotiation_seconds = 10;  -- from the connection to the router's <handshake/>
local closing_seconds = 2;       -- for the router's own </stream:stream>
local steady_seconds = 60;       -- a link that lasted so long starts a fresh back-off
local max_reconnect_seconds = 60;
local max_unsent_bytes = 16 * 1024 * 1024;  -- written to the link since its buffer was empty
local rewriting_bytes = 16 * 1024;          -- what the router may add to a stanza: xmlns, xml:lang
local ask_after, ask_seconds = 64, 0.2;     -- stanzas, or time, after which the router is asked how far it is
local unacknowledged_seconds = 30;          -- what was not acknowledged waits so long for the next link

local advice = {
	["conflict"] = "another link serves this [[local]] entry: does a second Prosody use it?";
	["host-unknown"] = "name the domain in a [[local]] entry of heteronym.toml, or set heteronym_domain";
	["not-authorized"] = "heteronym_secret must equal `secret` of this server's [[local]] entry";
};

local link;             -- the one link: being dialled, negotiated, up or closing; nil between attempts
local retry;            -- timer of the next attempt
local patience;         -- timer since the link was up last
local failures = 0;     -- attempts since the last steady link
local refused = 0;      -- stanzas turned away since the link was last up
local no_acks = false;  -- the router knows no acknowledgements
-- Stanzas that the router has not acknowledged (XEP-0198, without its resumption): they go again over the next link.
local pending = { first = 1, last = 0, bytes = 0 };
local reported;         -- last reason logged, so that an outage is one line and not one per attempt
local stopped = false;

-- The stream is opened for one host and serves them all. Names without a dot, such as Debian's
-- "localhost", are never federated.
local function first_host()
	local first;
	for name, host in pairs(hosts) do
		if host.type == "local" and name:find(".", 1, true) and (not first or name < first) then first = name; end
	end
	return first;
end

local function read_settings()
	return {
		address = module:get_option_string("heteronym_address", "127.0.0.1");
		port = module:get_option_number("heteronym_port", 5347);
		secret = module:get_option_string("heteronym_secret");
		domain = module:get_option_string("heteronym_domain") or first_host();
		reconnect = module:get_option_number("heteronym_reconnect", 2);
		stanza_bytes = module:get_option_number("heteronym_stanza_size_limit", 256 * 1024);
	};
end

-- What enters Prosody goes through one runner: handlers may wait for storage, the order of the
-- stanzas is kept while they do, and reading pauses meanwhile.
local inbox = async.runner(function (entry)
	prosody.core_process_stanza(entry.origin, entry.stanza);
end, {
	ready = function () if link and link.conn then link.conn:resume(); end end;
	waiting = function () if link and link.conn then link.conn:pause(); end end;
	error = function (_, err) module:log("error", "Error while handling a stanza: %s", err); end;
});

-- To the rest of Prosody a stanza from the router comes from an authenticated server stream.
local origin_mt = { __index = {
	type = "s2sin";
	direction = "incoming";
	log = module._log;
	hosts = setmetatable({}, { __index = function () return { authed = true }; end });
	send = function (stanza) -- replies pass the same filters as everything else that leaves
		local from_host, to_host = jid.host(stanza.attr.from), jid.host(stanza.attr.to);
		local host = hosts[from_host];
		local event = { origin = host, stanza = stanza, from_host = from_host, to_host = to_host };
		return host and host.events.fire_event("route/remote", event) or false;
	end;
	close = function (_, reason) -- one bad stanza does not end the link of all domains
		module:log("warn", "A stanza from the router was refused: %s", reason);
	end;
} };

local function deliver(stanza, from_host, to_host)
	inbox:run({ stanza = stanza, origin = setmetatable({ from_host = from_host, to_host = to_host }, origin_mt) });
end

local function bounce(event, error_type, condition, text)
	local stanza_type = event.stanza.attr.type;
	refused = refused + 1;
	if stanza_type == "error" or stanza_type == "result" or stanza_type == "unavailable" then return; end
	local reply = st.error_reply(event.stanza, error_type, condition, text, event.from_host);
	-- On the next turn of the loop: a room must not lose occupants while it is sending to them.
	add_task(0, function () deliver(reply, event.to_host, event.from_host); end);
end

local function push(entry)
	pending.last = pending.last + 1;
	pending[pending.last] = entry;
	pending.bytes = pending.bytes + #entry.xml;
end

local function shift()
	local entry = pending[pending.first];
	if not entry then return; end
	pending[pending.first] = nil;
	pending.first = pending.first + 1;
	pending.bytes = pending.bytes - #entry.xml;
	return entry;
end

local function ask(session)
	if session.ended or session.closing or session.unasked == 0 then return; end
	session.unasked = 0;
	session.conn:write("<r xmlns='"..xmlns_sm.."'/>");
end

-- Counted where the router acknowledges: what it has not, is kept.
local function sent(session, entry)
	session.conn:write(entry.xml);
	if no_acks then return; end
	push(entry);
	session.unasked = session.unasked + 1;
	if session.unasked == 1 then add_task(ask_seconds, function () ask(session); end); end
	if session.unasked >= ask_after then ask(session); end
end

-- The router has taken so many stanzas of this link.
local function acknowledged(session, h)
	for _ = session.acknowledged + 1, h do
		if not shift() then break; end
	end
	session.acknowledged = math.max(session.acknowledged, h);
end

-- The link is up: what the router never acknowledged comes first.
local function begin_counting(session)
	session.unasked, session.acknowledged = 0, 0;
	if not no_acks then session.conn:write("<enable xmlns='"..xmlns_sm.."'/>"); end
	local again = {};
	for entry in shift do table.insert(again, entry); end
	for _, entry in ipairs(again) do sent(session, entry); end
end

-- There was no link for long: their senders are told.
local function give_up_pending()
	if link and link.authenticated then return; end
	for entry in shift do
		bounce(entry, "wait", "remote-server-timeout", "The federation router has not come back");
	end
end

local function forward(event)
	local stanza = event.stanza;
	if not is_stanza[stanza.name] then return; end
	if not link or not link.authenticated or link.closing then
		bounce(event, "wait", "remote-server-timeout", "The federation router cannot be reached at the moment");
		return true;
	end
	local xmlns = stanza.attr.xmlns;
	stanza.attr.xmlns = nil; -- the stream's own
	local xml = tostring(stanza);
	stanza.attr.xmlns = xmlns;
	if #xml > link.settings.stanza_bytes then
		bounce(event, "modify", "policy-violation", "The stanza is too large for federation");
	elseif link.unsent_bytes + #xml > max_unsent_bytes or pending.bytes + #xml > max_unsent_bytes then
		bounce(event, "wait", "resource-constraint", "The federation router is too busy at the moment");
	else
		link.unsent_bytes = link.unsent_bytes + #xml;
		local attr = stanza.attr;
		local top = st.stanza(stanza.name, { from = attr.from, to = attr.to, id = attr.id, type = attr.type });
		sent(link, { xml = xml, stanza = top, from_host = event.from_host, to_host = event.to_host });
	end
	return true;
end

local dial;

-- The end of a link, whoever ended it. May be called more than once.
local function ended(session, reason)
	if session.ended then return; end
	session.ended = true;
	if link == session then link = nil; end
	if session.authenticated and not session.enabled and not no_acks then
		for _ in shift do end -- this router does not say what it has: some of it would arrive twice
	end
	if session.on_ended then session.on_ended(); end
	if stopped then return; end
	local settings = session.settings;
	if session.up_since and now() - session.up_since > steady_seconds then failures = 0; end
	local delay = math.min(settings.reconnect * 2 ^ failures, max_reconnect_seconds) * (1 - math.random() / 4);
	failures = math.min(failures + 1, 10);
	reason = session.failure or reason or "closed";
	local text = ("No link with the router at %s:%d: %s"):format(settings.address, settings.port, reason);
	module:set_status("warn", text);
	module:log(reason == reported and "debug" or "warn", "%s", text);
	reported = reason;
	retry = module:add_timer(session.redial and 0 or delay, dial);
	if session.authenticated then
		if patience then patience:stop(); end
		patience = module:add_timer(unacknowledged_seconds, give_up_pending);
	end
end

-- Ends the stream in good order, and the connection when the router has ended its own.
local function close(session, reason, condition)
	if session.closing or session.ended then return; end
	session.closing, session.failure = true, reason;
	if not session.conn then return ended(session); end
	if condition then
		session.conn:write(tostring(st.stanza("stream:error"):tag(condition, { xmlns = xmlns_errors })));
	end
	session.conn:write("</stream:stream>");
	add_task(closing_seconds, function ()
		if not session.ended then session.conn:close(); end
		ended(session);
	end);
end

local stream = { default_ns = xmlns_component };

function stream.streamopened(session, attr)
	session.notopen = nil;
	session.conn:write(tostring(st.stanza("handshake"):text(sha1((attr.id or "")..session.settings.secret, true))));
end

function stream.handlestanza(session, stanza)
	local from, to, settings = stanza.attr.from, stanza.attr.to, session.settings;
	if stanza.name == "handshake" and not session.authenticated then
		session.authenticated, session.up_since, reported = true, now(), nil;
		module:log_status("info", "Link with the router at %s:%d is up, opened for %s (%d stanzas refused before)",
			settings.address, settings.port, settings.domain, refused);
		refused = 0;
		begin_counting(session);
		return;
	elseif stanza.attr.xmlns == xmlns_sm and session.authenticated and stanza.name == "enabled" then
		session.enabled = true;
		return;
	elseif stanza.attr.xmlns == xmlns_sm and session.enabled and stanza.name == "a" then
		return acknowledged(session, tonumber(stanza.attr.h) or 0);
	elseif stanza.attr.xmlns or not is_stanza[stanza.name] or not session.authenticated then
		return module:log("debug", "Ignored an element of the router: %s", stanza:top_tag());
	end
	-- The router asks in its own name whether the link is alive; one of our hosts may have that name.
	if stanza.attr.type == "get" and stanza:get_child("ping", "urn:xmpp:ping")
	and (not from or hosts[from]) and (not to or hosts[to]) then
		local reply = st.reply(stanza);
		if not session.closing then sent(session, { xml = tostring(reply), stanza = reply }); end
		return;
	end
	local _, from_host = jid.prepped_split(from);
	local _, to_host = jid.prepped_split(to);
	if not from_host or hosts[from_host] then
		module:log("warn", "Dropped a stanza from the router: its sender %s is not remote", tostring(from));
	elseif not to_host or not hosts[to_host] then
		module:log("warn", "Dropped a stanza from the router: its recipient %s is not local", tostring(to));
	else
		deliver(stanza, from_host, to_host);
	end
end

function stream.streamclosed(session)
	close(session);
	session.conn:close();
end

function stream.error(session, problem, detail)
	if problem ~= "stream-error" then
		return close(session, "the router sent what is no XMPP stream: "..problem, "not-well-formed");
	end
	local condition, text = "undefined-condition", detail:get_child_text("text", xmlns_errors);
	for child in detail:childtags(nil, xmlns_errors) do
		if child.name ~= "text" then condition = child.name; end
	end
	if condition == "unsupported-stanza-type" and not no_acks and session.acknowledged == 0 then
		-- A router from before acknowledgements. What was sent behind the question goes over the next link.
		no_acks, session.redial = true, true;
	end
	close(session, condition..(text and " ("..text..")" or "")..(advice[condition] and "; "..advice[condition] or ""));
end

local function new_listener(session)
	local parser = new_stream(session, stream, session.settings.stanza_bytes + rewriting_bytes);
	return {
		onconnect = function (conn)
			session.conn = conn;
			if session.ended then return conn:close(); end
			conn:setoption("tcp-nodelay", true);
			conn:setoption("keepalive", true);
			local attr = { xmlns = xmlns_component, ["xmlns:stream"] = "http://etherx.jabber.org/streams" };
			attr.to = session.settings.domain;
			conn:write("<?xml version='1.0'?>"..st.stanza("stream:stream", attr):top_tag());
			add_task(negotiation_seconds, function ()
				if not session.authenticated then close(session, "no answer to the handshake", "connection-timeout"); end
			end);
		end;
		onincoming = function (_, data)
			local ok, problem = parser:feed(data);
			if not ok then close(session, problem, problem == "stanza-too-large" and "policy-violation" or "not-well-formed"); end
		end;
		ondrain = function () session.unsent_bytes = 0; end;
		onreadtimeout = function (conn) conn:write(" "); return true; end;
		ondisconnect = function (_, reason) ended(session, reason); end;
		onfail = function (_, reason) ended(session, reason); end;
	};
end

function dial()
	retry = nil;
	local settings = read_settings();
	if not settings.secret or not settings.domain then
		return module:log_status("warn", "Set heteronym_secret%s", settings.domain and "" or " and heteronym_domain");
	end
	link = { settings = settings, notopen = true, unsent_bytes = 0 };
	connect(new_resolver(settings.address, settings.port, "tcp"), new_listener(link));
end

-- After a reload a link that is down is dialled at once, and one with other settings anew.
local function reload()
	local settings = read_settings();
	failures, reported = 0, nil;
	if retry then retry:stop(); end
	if not link then return dial(); end
	for name, value in pairs(link.settings) do
		if settings[name] ~= value then link.redial = true; end
	end
	if link.redial then close(link, "its settings have changed"); end
end

local function hook_host(name) -- after filters such as mod_firewall (0.1), before mod_s2s (-1)
	module:hook_object_event(hosts[name].events, "route/remote", forward, 0);
end

for name in pairs(hosts) do hook_host(name); end
module:hook_global("host-activated", hook_host);
module:hook_global("config-reloaded", reload);

module:hook_global("server-stopping", function ()
	stopped = true;
	if not link or not link.conn then return; end
	local wait, done = async.waiter();
	link.on_ended = done;
	close(link);
	wait();
end, -400); -- the farewells of mod_c2s (-100) and mod_muc (-300) still go out

function module.unload()
	stopped = true;
	if link then close(link); end
end

retry = module:add_timer(0, dial); -- by then all hosts are active
