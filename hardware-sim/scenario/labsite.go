package scenario

// labSite is the configuration of a laboratory that works both ways; NAME@ is a free
// address, TTY- a pseudo terminal in the folder of the file.
const labSite = `# A gateway for a simulated laboratory, written by "hwsim config --laboratory".
# nhip run --config FILE, then hwsim hospital --config FILE --scenario twoway
[site]
id = "lab"
name = "Khoa xét nghiệm mô phỏng"
time_zone = "Asia/Ho_Chi_Minh"
data = "DATA"

[console]
listen = "CONSOLE@"
[dicom]
listen = []
[hl7]
listen = "HL7@"
[mqtt]
listen = []

[[hl7_peer]]                     # orders by OML^O33
name = "his"
address = "127.0.0.1"
application = "HIS"

[[hl7_peer]]                     # by OML^O21
name = "ward"
address = "127.0.0.1"
application = "WARD"

[[hl7_peer]]                     # by ORM^O01
name = "old-his"
address = "127.0.0.1"
application = "OLDHIS"
order_specimen = ["OBR-15"]

[[analyser]]                     # connects to the gateway
name = "xn-1"
profile = "sysmex-xn-l"
port = "tcp-listen://XN@"
orders = "warn"
sections = ["HM"]
to = ["lis"]

[[analyser]]                     # the same model on a serial line
name = "xn-2"
profile = "sysmex-xn-l"
port = "serial://TTY-xn-2?baud=9600"
orders = "required"
sections = ["HM2"]
to = ["lis"]

[[analyser]]
name = "e411-1"
profile = "roche-cobas-e411"
port = "serial://TTY-e411-1?baud=9600"
orders = "required"
sections = ["IM"]
to = ["lis"]

[[analyser]]                     # the gateway connects to it
name = "c6000-1"
profile = "roche-cobas-6000"
port = "tcp-dial://C6000@"
orders = "required"
sections = ["CH"]
to = ["lis"]

[[analyser]]
name = "ca-1"
profile = "sysmex-ca-1500"
port = "serial://TTY-ca-1?baud=9600"
orders = "warn"
sections = ["CO"]
to = ["lis"]

[[analyser]]                     # its specimens have running numbers, which come again every day
name = "vitros-1"
profile = "ortho-vitros"
port = "tcp-listen://VITROS@"
orders = "required"
order_window = "14h"
sections = ["VI"]
to = ["lis"]

[[analyser]]
name = "maglumi-1"
profile = "snibe-maglumi"
port = "tcp-listen://MAGLUMI@"
orders = "warn"
sections = ["IM2"]
to = ["lis"]

[[analyser]]                     # HL7, one message for each test
name = "bs-1"
profile = "mindray-bs"
port = "mllp-listen://BS@"
orders = "required"
order_window = "14h"
sections = ["BS"]
to = ["lis"]

[[analyser]]                     # IHE LAW; it is the server
name = "c5800-1"
profile = "roche-cobas-5800"
port = "mllp-dial://C5800@"
orders = "required"
sections = ["MO"]
to = ["lis"]

[[analyser]]
name = "au-1"
profile = "beckman-au"
port = "serial://TTY-au-1?baud=9600"
orders = "required"
sections = ["AU"]
to = ["lis"]

[[analyser]]                     # it asks for nothing: it is sent its orders, and told of cancels
name = "gen-1"
profile = "generic-astm"
port = "tcp-listen://GEN1@"
orders = "required"
send = "download"
sections = ["GE"]
to = ["lis"]

[[analyser]]                     # both, on a serial line
name = "gen-2"
profile = "generic-astm"
port = "serial://TTY-gen-2?baud=9600"
orders = "warn"
send = "both"
sections = ["GE2"]
to = ["lis"]

[[order_code]]
analyser = "xn-1"
order = "CTM"
tests = ["WBC", "RBC", "HGB", "PLT"]
[[order_code]]
analyser = "xn-1"
order = "HCT"
tests = ["HCT"]
[[order_code]]
analyser = "xn-1"
order = "MCV"
tests = ["MCV"]
[[order_code]]
analyser = "c6000-1"
order = "GLU"
tests = ["10"]
[[order_code]]
analyser = "c6000-1"
order = "LIPID"
tests = ["20", "21", "22"]
[[order_code]]
analyser = "c6000-1"
order = "UREA"
tests = ["30"]
[[order_code]]
analyser = "c6000-1"
order = "ALT"
tests = ["40"]

[[destination]]
name = "lis"
kind = "hl7"
address = "LIS@"
answer_timeout = "5s"
`
