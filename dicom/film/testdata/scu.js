// A modality: dcmjs-dimse prints one film of two images, and prints a line for
// each response.
const { Client, Dataset, constants, requests } = require('dcmjs-dimse');
const { NCreateRequest, NSetRequest, NActionRequest, NGetRequest, NDeleteRequest } = requests;
const { SopClass } = constants;
const [host, port] = process.argv.slice(2);
const meta = SopClass.BasicGrayscalePrintManagementMeta;
const session = '1.2.826.90.1';
const box = '1.2.826.90.2';
const client = new Client();

function told(name, request, then) {
  request.on('response', (r) => {
    console.log(name, r.getStatus().toString(16).padStart(4, '0'));
    if (then) then(r);
  });
  return request;
}

function image(position, instance) {
  const pixels = new Uint8Array(32 * 32).map((_, i) => (i * position) & 255);
  const set = new NSetRequest(SopClass.BasicGrayscaleImageBox, instance, meta);
  set.setDataset(new Dataset({
    ImageBoxPosition: position,
    BasicGrayscaleImageSequence: [{
      SamplesPerPixel: 1, PhotometricInterpretation: 'MONOCHROME2', Rows: 32, Columns: 32, BitsAllocated: 8, BitsStored: 8, HighBit: 7,
      PixelRepresentation: 0, PixelData: [pixels.buffer],
    }],
  }));
  return set;
}

const create = new NCreateRequest(SopClass.BasicFilmSession, session, meta);
create.setDataset(new Dataset({ NumberOfCopies: '2', FilmSessionLabel: 'DOE^JANE 4711' }));
const film = new NCreateRequest(SopClass.BasicFilmBox, box, meta);
film.setDataset(new Dataset({
  ImageDisplayFormat: 'STANDARD\\1,2', FilmSizeID: '14INX17IN', FilmOrientation: 'PORTRAIT',
  ReferencedFilmSessionSequence: [{ ReferencedSOPClassUID: SopClass.BasicFilmSession, ReferencedSOPInstanceUID: session }],
}));

client.addRequest(told('printer', new NGetRequest(SopClass.Printer, SopClass.PrinterInstance || '1.2.840.10008.5.1.1.17', meta)));
client.addRequest(told('session', create));
client.addRequest(told('box', film, (r) => {
  const places = [].concat(r.getDataset().getElements().ReferencedImageBoxSequence);
  const more = places.map((p, i) => told('image', image(i + 1, p.ReferencedSOPInstanceUID)));
  more.push(told('print', new NActionRequest(SopClass.BasicFilmBox, box, 1, meta)));
  more.push(told('delete', new NDeleteRequest(SopClass.BasicFilmSession, session, meta)));
  client.network.sendRequests(more);
}));
client.on('networkError', (e) => { console.log('error', e.message); process.exit(0); });
client.on('closed', () => process.exit(0));
client.send(host, Number(port), 'OLDCT', 'PRINTSCP');
