// Command gen makes the data of the demo tenant: it copies a part of the
// AdventureWorks sample's CSV files, columns that are not used left out. It is
// run by hand when the choice changes; nothing needs it at run time.
//
//	go run ./internal/demo/gen -from DIR -to internal/demo/data
package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// personEvery and orderEvery say how many private customers and purchase
// orders stay: one of so many.
const (
	personEvery = 12
	orderEvery  = 12
)

func main() {
	from := flag.String("from", "", "the folder with the sample's CSV files")
	to := flag.String("to", "", "the folder to write to")
	flag.Parse()
	if err := run(*from, *to); err != nil {
		log.Fatal(err)
	}
}

// cells are a row's columns by name.
type cells map[string]string

func run(from, to string) error {
	if from == "" || to == "" {
		return errors.New("gen: -from and -to are needed")
	}
	g := &generator{from: from, to: to}
	all := func(cells) bool { return true }

	kept := map[string]bool{} // business entities whose addresses stay
	persons := 0
	g.copy("Customer.csv", []string{"CustomerID", "PersonID", "StoreID", "TerritoryID", "AccountNumber"}, func(c cells) bool {
		if c["StoreID"] != "" {
			kept[c["StoreID"]] = true
			return true
		}
		persons++
		if persons%personEvery != 0 {
			return false
		}
		kept[c["PersonID"]] = true
		return true
	})
	g.copy("Vendor.csv", []string{"BusinessEntityID", "AccountNumber", "Name", "PreferredVendorStatus", "PurchasingWebServiceURL"}, func(c cells) bool {
		kept[c["BusinessEntityID"]] = true
		return true
	})
	addresses := map[string]bool{}
	g.copy("BusinessEntityAddress.csv", []string{"BusinessEntityID", "AddressID", "AddressTypeID"}, func(c cells) bool {
		addresses[c["AddressID"]] = addresses[c["AddressID"]] || kept[c["BusinessEntityID"]]
		return kept[c["BusinessEntityID"]]
	})
	g.copy("Address.csv", []string{"AddressID", "AddressLine1", "AddressLine2", "City", "StateProvinceID", "PostalCode"}, func(c cells) bool {
		return addresses[c["AddressID"]]
	})
	order := func(c cells) bool {
		n, err := strconv.Atoi(c["PurchaseOrderID"])
		return err == nil && n%orderEvery == 0
	}
	g.copy("PurchaseOrderHeader.csv", []string{"PurchaseOrderID", "Status", "VendorID", "ShipMethodID", "OrderDate", "ShipDate"}, order)
	g.copy("PurchaseOrderDetail.csv", []string{"PurchaseOrderID", "PurchaseOrderDetailID", "OrderQty", "ProductID", "UnitPrice"}, order)
	for file, columns := range map[string][]string{
		"SalesTerritory.csv":     {"TerritoryID", "Name", "CountryRegionCode", "Group"},
		"StateProvince.csv":      {"StateProvinceID", "StateProvinceCode", "CountryRegionCode", "Name"},
		"Employee.csv":           {"BusinessEntityID", "LoginID", "JobTitle", "HireDate"},
		"SalesPerson.csv":        {"BusinessEntityID", "TerritoryID"},
		"Store.csv":              {"BusinessEntityID", "Name", "SalesPersonID"},
		"ProductCategory.csv":    {"ProductCategoryID", "Name"},
		"ProductSubcategory.csv": {"ProductSubcategoryID", "ProductCategoryID", "Name"},
		"Product.csv":            {"ProductID", "Name", "ProductNumber", "Color", "ReorderPoint", "StandardCost", "ListPrice", "Size", "ProductSubcategoryID"},
		"Location.csv":           {"LocationID", "Name"},
		"ProductInventory.csv":   {"ProductID", "LocationID", "Shelf", "Bin", "Quantity"},
		"ProductVendor.csv":      {"BusinessEntityID", "AverageLeadTime"},
		"ShipMethod.csv":         {"ShipMethodID", "Name", "ShipBase"},
	} {
		g.copy(file, columns, all)
	}
	licence, err := os.ReadFile(filepath.Join(from, "LICENSE"))
	if err != nil {
		return fmt.Errorf("gen: %w", err)
	}
	return errors.Join(g.err, os.WriteFile(filepath.Join(to, "LICENSE"), licence, 0o644))
}

// generator copies files until one fails.
type generator struct {
	from, to string
	err      error
}

// copy copies the columns of the rows that keep wants.
func (g *generator) copy(file string, columns []string, keep func(cells) bool) {
	if g.err != nil {
		return
	}
	if err := g.copyFile(file, columns, keep); err != nil {
		g.err = fmt.Errorf("gen: %s: %w", file, err)
	}
}

func (g *generator) copyFile(file string, columns []string, keep func(cells) bool) error {
	in, err := os.Open(filepath.Join(g.from, file))
	if err != nil {
		return err
	}
	defer in.Close()
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil || len(rows) == 0 {
		return errors.Join(err, errors.New("nothing read"))
	}
	for _, c := range columns {
		if !slices.Contains(rows[0], c) {
			return fmt.Errorf("no column %s", c)
		}
	}
	out := [][]string{columns}
	for _, row := range rows[1:] {
		c := cells{}
		for i, v := range row {
			c[rows[0][i]] = v
		}
		if !keep(c) {
			continue
		}
		cut := make([]string, len(columns))
		for i, name := range columns {
			cut[i] = c[name]
		}
		out = append(out, cut)
	}
	f, err := os.Create(filepath.Join(g.to, file))
	if err != nil {
		return err
	}
	return errors.Join(csv.NewWriter(f).WriteAll(out), f.Close())
}
