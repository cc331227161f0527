// A modality: dcmjs-dimse begins a step, ends it, and tries what is not allowed.
// Prints a line for each response.
const { Client, Dataset, constants, requests } = require('dcmjs-dimse');
const { NCreateRequest, NSetRequest, NGetRequest } = requests;
const { SopClass } = constants;
const [host, port, instance] = process.argv.slice(2);
const step = SopClass.ModalityPerformedProcedureStep;

function ask(name, request) {
  return new Promise((resolve) => {
    const client = new Client();
    request.on('response', (r) => {
      const d = r.getDataset() ? r.getDataset().getElements() : {};
      console.log(name, r.getStatus().toString(16).padStart(4, '0'), d.PerformedProcedureStepStatus || '-');
    });
    client.addRequest(request);
    client.on('networkError', (e) => { console.log(name, 'error', e.message); resolve(); });
    client.on('closed', resolve);
    client.send(host, Number(port), 'DCMJS', 'NHIP');
  });
}

function with_(request, elements) {
  request.setDataset(new Dataset(elements));
  return request;
}

const begun = {
  Modality: 'CT', PerformedProcedureStepStatus: 'IN PROGRESS', PerformedProcedureStepID: 'P1', PerformedStationAETitle: 'CT1',
  PerformedProcedureStepStartDate: '20260114', PerformedProcedureStepStartTime: '101500', PatientName: 'DOE^JANE', PatientID: '4711',
  ScheduledStepAttributesSequence: [{ AccessionNumber: 'A1', StudyInstanceUID: '1.2.3' }],
};
const series = { SeriesInstanceUID: '1.2.3.1', ProtocolName: 'Thorax', ReferencedImageSequence: [{ ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2', ReferencedSOPInstanceUID: '1.2.3.1.1' }] };

(async () => {
  await ask('set-before-create', with_(new NSetRequest(step, instance), { PerformedProcedureStepStatus: 'COMPLETED' }));
  await ask('create-incomplete', with_(new NCreateRequest(step, instance), { Modality: 'CT' }));
  await ask('create', with_(new NCreateRequest(step, instance), begun));
  await ask('create-again', with_(new NCreateRequest(step, instance), begun));
  await ask('set-patient', with_(new NSetRequest(step, instance), { PatientID: '4712' }));
  await ask('complete', with_(new NSetRequest(step, instance), {
    PerformedProcedureStepStatus: 'COMPLETED', PerformedProcedureStepEndDate: '20260114', PerformedProcedureStepEndTime: '102000', PerformedSeriesSequence: [series],
  }));
  await ask('set-after', with_(new NSetRequest(step, instance), { PerformedProcedureStepStatus: 'DISCONTINUED' }));
  await ask('get', new NGetRequest('1.2.840.10008.3.1.2.3.4', instance));
  process.exit(0);
})();
