// @medplum/hl7 as a client (client PORT FILE) and as a server (server, or enhanced for
// an accept acknowledgement before the application acknowledgement): what comes is
// printed, a line of JSON each.
const { Hl7Client, Hl7Server } = require('@medplum/hl7');
const { Hl7Message } = require('@medplum/core');
const fs = require('fs');
const print = (kind, text) => console.log(JSON.stringify({ kind, text }));
const role = process.argv[2];

if (role === 'server' || role === 'enhanced') {
  const server = new Hl7Server((connection) => {
    connection.addEventListener('message', ({ message }) => {
      print('message', message.toString());
      if (role === 'enhanced') connection.send(message.buildAck({ ackCode: 'CA' }));
      connection.send(message.buildAck({ ackCode: 'AA' }));
    });
    connection.addEventListener('error', ({ error }) => print('error', String(error)));
  });
  server.start(0, 'utf-8', false);
  server.server.on('listening', () => print('port', String(server.server.address().port)));
} else {
  (async () => {
    const client = new Hl7Client({ host: '127.0.0.1', port: Number(process.argv[3]), keepAlive: true });
    // What answers no message that it waits for.
    client.addEventListener('error', ({ error }) => print('later', String(error)));
    for (const m of fs.readFileSync(process.argv[4], 'utf8').split('\n').filter((m) => m)) {
      try {
        print('answer', (await client.sendAndWait(Hl7Message.parse(m), { timeoutMs: 60000 })).toString());
      } catch (err) {
        print('error', String(err));
      }
    }
    process.stdin.resume(); // until the test has seen what comes later
  })();
}
