// dcmjs-dimse agrees to the window and answers C-ECHOs in the reverse order of
// their coming: all that are outstanding, after a while.
const { Server, Scp, constants, responses } = require('dcmjs-dimse');
const { PresentationContextResult, TransferSyntax, Status } = constants;
const waiting = [];

class Echo extends Scp {
  associationRequested(association) {
    association.getPresentationContexts().forEach((c) => {
      association.getPresentationContext(c.id).setResult(PresentationContextResult.Accept, TransferSyntax.ImplicitVRLittleEndian);
    });
    this.sendAssociationAccept();
  }

  cEchoRequest(request, callback) {
    const response = responses.CEchoResponse.fromRequest(request);
    response.setStatus(Status.Success);
    waiting.push(() => callback(response));
    console.log('outstanding', waiting.length);
    setTimeout(() => { while (waiting.length > 0) waiting.pop()(); }, 200);
  }

  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

new Server(Echo).listen(Number(process.argv[2]));
