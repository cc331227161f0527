package jpegdct

// Cosines of k×π/16.
const (
	c1 = 0.98078528040323044913
	c2 = 0.92387953251128675613
	c3 = 0.83146961230254523708
	c4 = 0.70710678118654752440
	c5 = 0.55557023301960222474
	c6 = 0.38268343236508977173
	c7 = 0.19509032201612826785
)

// inverse is the inverse DCT, T.81 section A.3.3, with the level shift and the clamp
// of section A.3.1. Coefficients are row by row; out has so many samples in a line.
func inverse(coefficients *[64]int32, out []uint16, stride, precision int) {
	var f [64]float32
	for i, v := range coefficients {
		f[i] = float32(v)
	}
	for y := 0; y < 64; y += 8 {
		eight(&f, y, 1)
	}
	for x := range 8 {
		eight(&f, x, 8)
	}
	shift := float32(int32(1)<<(precision-1)) + 0.5
	most := float32(int32(1)<<precision - 1)
	for y := range 8 {
		line := out[y*stride:][:8]
		for x := range line {
			line[x] = uint16(max(0, min(f[8*y+x]/4+shift, most)))
		}
	}
}

// eight transforms eight values that are step apart, twice too large for an
// orthonormal transform of a block's two dimensions by 2 each.
func eight(f *[64]float32, at, step int) {
	x0, x1, x2, x3 := f[at], f[at+step], f[at+2*step], f[at+3*step]
	x4, x5, x6, x7 := f[at+4*step], f[at+5*step], f[at+6*step], f[at+7*step]

	sum, difference := (x0+x4)*c4, (x0-x4)*c4
	a, b := x2*c2+x6*c6, x2*c6-x6*c2
	e0, e1, e2, e3 := sum+a, difference+b, difference-b, sum-a

	o0 := x1*c1 + x3*c3 + x5*c5 + x7*c7
	o1 := x1*c3 - x3*c7 - x5*c1 - x7*c5
	o2 := x1*c5 - x3*c1 + x5*c7 + x7*c3
	o3 := x1*c7 - x3*c5 + x5*c3 - x7*c1

	f[at], f[at+step], f[at+2*step], f[at+3*step] = e0+o0, e1+o1, e2+o2, e3+o3
	f[at+4*step], f[at+5*step], f[at+6*step], f[at+7*step] = e3-o3, e2-o2, e1-o1, e0-o0
}
