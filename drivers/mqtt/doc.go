// Package mqtt is the MQTT broker of the gateway: versions 3.1.1 and 5 (OASIS)
// over TCP, embedded, with credentials, an access control list and limits. It
// knows nothing of what a payload says.
//
// Nobody is admitted who is not named. A publish of a user of class "record" is
// handed to Options.OnRecord and answered (PUBACK) only after that returned nil.
//
// # What it does not do
//
// An MQTT session is no store. No session outlives its connection: a subscriber
// that was away gets the retained messages and what is published from then on,
// nothing else (CONNACK says session present 0 and, in version 5, session expiry
// interval 0). Whoever must not miss a reading takes it from a queue that is on
// disk. A connected subscriber that cannot keep up is cut, so that it knows;
// nothing is taken out of the middle of its stream.
//
// QoS 2 is refused (version 5: announced as Maximum QoS 1, then DISCONNECT 0x9B;
// version 3.1.1: disconnected) because "exactly once" needs sessions that
// outlive a connection. A subscription that asks for QoS 2 is granted QoS 1.
// A version 5 subscriber with a Receive Maximum under MaxInflight is granted
// QoS 0. Shared subscriptions, topic aliases and enhanced authentication are not
// there. Will messages are published at once, whatever their delay.
//
// The codec and topic index are those of mochi-mqtt 2.7.9; the comments say
// where one of its habits is worked around.
package mqtt
