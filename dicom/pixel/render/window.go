package render

import "math"

// A Function is a VOI LUT Function (0028,1056), PS3.3 section C.11.2.1.3.
type Function string

// VOI LUT functions. The empty one is LINEAR.
const (
	Linear      Function = "LINEAR"
	LinearExact Function = "LINEAR_EXACT"
	Sigmoid     Function = "SIGMOID"
)

// A Window is a Window Center and a Window Width, PS3.3 section C.11.2.1.2, in
// the unit of the values behind the modality transformation.
type Window struct {
	Center, Width float64
	Function      Function
	Explanation   string // as the object has it, often empty
}

// usable reports whether a width is one that its function can have.
func (w Window) usable() bool {
	for _, v := range []float64{w.Center, w.Width} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	if w.Function == LinearExact || w.Function == Sigmoid {
		return w.Width > 0
	}
	return w.Width >= 1
}

// apply returns what a value becomes, from 0 to 1.
func (w Window) apply(x float64) float64 {
	var y float64
	switch w.Function {
	case Sigmoid:
		return 1 / (1 + math.Exp(-4*(x-w.Center)/w.Width))
	case LinearExact:
		y = (x-w.Center)/w.Width + 0.5
	default:
		if w.Width == 1 { // a threshold: the equation would divide by zero
			y = 1
			if x <= w.Center-0.5 {
				y = 0
			}
			break
		}
		y = (x-(w.Center-0.5))/(w.Width-1) + 0.5
	}
	return min(max(y, 0), 1)
}

// spanning returns the window that shows all values from low to high.
func spanning(low, high float64) Window {
	return Window{Center: (low+high)/2 + 0.5, Width: high - low + 1, Function: Linear}
}
