// simple-hl7 as a client (client PORT FILE) and as a server (server): what comes is
// printed, a line of JSON each.
const hl7 = require('simple-hl7');
const fs = require('fs');
const print = (kind, text) => console.log(JSON.stringify({ kind, text }));

if (process.argv[2] === 'server') {
  const server = hl7.Server.createTcpServer({}, (err, req, res) => {
    if (err) return print('error', String(err));
    print('message', req.raw);
    res.end();
  });
  server.start(0);
  server.server.on('listening', () => print('port', String(server.server.address().port)));
} else {
  const messages = fs.readFileSync(process.argv[4], 'utf8').split('\n').filter((m) => m);
  const client = hl7.Server.createTcpClient({ host: '127.0.0.1', port: Number(process.argv[3]), keepalive: true });
  const parser = new hl7.Parser({ segmentSeperator: '\r' });
  const next = () => {
    const m = messages.shift();
    if (!m) return client.close();
    client.send(parser.parse(m), (err, ack) => {
      print(err ? 'error' : 'answer', String(err || ack));
      setImmediate(next); // it still awaits this answer now
    });
  };
  next();
}
