package console

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	markdown "github.com/yuin/goldmark/text"

	"nhip/gateway/docs"
)

// A manual is the manual in one language. It is ours, and no HTML in it is
// taken over all the same.
type manual struct {
	Chapters []chapter
	Body     template.HTML
}

type chapter struct{ ID, Title string }

// newManual renders Markdown (CommonMark with tables). Its headings are numbered
// anchors, the same in every language; those of the second level are chapters.
func newManual(source []byte) manual {
	md := goldmark.New(goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignNone))))
	root := md.Parser().Parse(markdown.NewReader(source))
	var m manual
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		if !ok || h.Level != 2 {
			continue
		}
		id := fmt.Sprintf("c%d", len(m.Chapters)+1)
		h.SetAttributeString("id", []byte(id))
		m.Chapters = append(m.Chapters, chapter{id, string(h.Lines().Value(source))})
	}
	var b bytes.Buffer
	if err := md.Renderer().Render(&b, source, root); err != nil {
		panic(err) // a buffer takes everything; a test renders both
	}
	m.Body = template.HTML(b.String())
	return m
}

func (c *Console) manual(w http.ResponseWriter, r *http.Request) {
	p, v := c.newPage(r, "manual")
	p.Manual = &c.manuals[v.lang]
	p.Down = false // it is there while the gateway cannot say anything
	c.render(w, v.lang, "manual", p)
}

// conformance is the DICOM conformance statement, in English.
func (c *Console) conformance(w http.ResponseWriter, r *http.Request) {
	p, v := c.newPage(r, "manual")
	p.Manual = &c.statement
	p.Down = false
	c.render(w, v.lang, "manual", p)
}

func manuals() [2]manual {
	return [2]manual{en: newManual(docs.English), vi: newManual(docs.Vietnamese)}
}
